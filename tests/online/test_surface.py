"""Errors in OpenAI's form or Anthropic's, without Ray: the FastAPI application alone."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel, Field
from ray.serve.llm.openai_api_models import ChatCompletionRequest, CompletionRequest

from serve.errors import ExpertUnavailable, InvalidRequest, Overloaded, UnknownModel
from serve.online.apis.messages import MessagesRequest
from serve.online.apis.plain import TokenizeBody
from serve.online.apis.responses import ResponsesRequest
from serve.online.serve_llm import ErrorInfo, OpenAIHTTPException
from serve.online.surface import error_from_engine, surface

JSON = {"content-type": "application/json"}
BROKEN = '{"n": 1,}'


class Body(BaseModel):
    n: int = Field(default=1, ge=1)
    messages: list[str] = []


ERRORS = {
    "unknown": (UnknownModel("no such", param="model"), 404, "model_not_found"),
    "invalid": (InvalidRequest("bad", param="n"), 400, None),
    "down": (ExpertUnavailable("down"), 503, "expert_unavailable"),
    "ray": (OpenAIHTTPException(408, "late"), 408, None),
}


@pytest.fixture(scope="module")
def client():
    app = surface()

    @app.post("/echo")
    async def echo(body: Body) -> Body:
        return body

    @app.get("/raise/{name}")
    @app.get("/v1/messages/raise/{name}")
    async def fail(name: str) -> None:
        raise ERRORS[name][0]

    @app.post("/tokenize")
    async def tokenize(body: TokenizeBody) -> str:
        return type(body).__name__

    @app.post("/chat")
    async def chat(body: ChatCompletionRequest) -> str:
        return "ok"

    return TestClient(app)


@pytest.mark.parametrize("name", ERRORS)
def test_each_error_knows_its_status_and_code(client, name):
    _, status, code = ERRORS[name]
    answer = client.get(f"/raise/{name}")
    assert answer.status_code == status
    body = answer.json()["error"]
    assert set(body) == {"message", "type", "param", "code"}
    assert body["code"] == code
    assert body["type"] == ("server_error" if status >= 500 else "invalid_request_error")


@pytest.mark.parametrize(
    ("name", "type_"),
    [
        ("unknown", "not_found_error"),
        ("invalid", "invalid_request_error"),
        ("down", "overloaded_error"),
        ("ray", "timeout_error"),
        ("nothing/here", "not_found_error"),
    ],
)
def test_anthropics_paths_answer_in_anthropics_form(client, name, type_):
    answer = client.get(f"/v1/messages/raise/{name}")
    assert set(answer.json()) == {"type", "error"} and answer.json()["type"] == "error"
    assert answer.json()["error"]["type"] == type_ and answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": [{"role": "user", "content": 7}]}, "messages"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": "x", "add_special_tokens": "maybe"}, "add_special_tokens"),
        ({}, "prompt"),
        ([], None),
    ],
)
def test_of_two_bodies_the_mistake_is_of_the_one_that_was_meant(client, body, param):
    answer = client.post("/tokenize", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_tokenize_takes_a_text_or_a_chat(client):
    assert client.post("/tokenize", json={"prompt": "x"}).json() == "TokenizeCompletionRequest"
    chat = {"messages": [{"role": "user", "content": "x"}]}
    assert client.post("/tokenize", json=chat).json() == "TokenizeChatRequest"


@pytest.mark.parametrize(
    ("content", "param"),
    [('{"n": 0}', "n"), ('{"n": "x"}', "n"), ('{"messages": [1]}', "messages"), ("[]", None)],
)
def test_a_wrong_type_names_the_field(client, content, param):
    answer = client.post("/echo", content=content, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_broken_json_says_where(client):
    error = client.post("/echo", content=BROKEN, headers=JSON).json()["error"]
    assert error["code"] == "invalid_json"
    assert "at character 8" in error["message"]


def test_what_vllms_request_class_refuses_is_a_400(client):
    body = {"messages": [{"role": "user", "content": "x"}], "tool_choice": "required"}
    answer = client.post("/chat", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "tool_choice"
    assert "(parameter=" not in answer.json()["error"]["message"]


CHAT = ChatCompletionRequest(messages=[{"role": "user", "content": "x"}])


@pytest.mark.parametrize(
    ("info", "body", "param"),
    [
        (ErrorInfo(message="too long", type="x", param="input_tokens", code=400), CHAT, "messages"),
        (
            ErrorInfo(message="too long", type="x", param="input_tokens", code=400),
            CompletionRequest(prompt="x"),
            "prompt",
        ),
        (
            ErrorInfo(message="too long", type="x", param="input_tokens", code=400),
            ResponsesRequest(input="x"),
            "input",
        ),
        (
            ErrorInfo(message="too long", type="x", param="input_tokens", code=400),
            MessagesRequest(messages=[], max_tokens=1),
            "messages",
        ),
        (ErrorInfo(message="n must be at least 1", type="x", code=400), CHAT, "n"),
        (
            ErrorInfo(message="top_p must be small", type="x", param="top_p", code=400),
            CHAT,
            "top_p",
        ),
        (ErrorInfo(message="something else", type="x", code=400), CHAT, None),
        (ErrorInfo(message="", type="x", code=400), CHAT, None),
    ],
)
def test_vllms_refusal_names_a_field_of_the_body(info, body, param):
    error = error_from_engine(info, body)
    assert (error.status, error.param, str(error)) == (400, param, info.message)


def test_an_engines_own_failure_is_a_503():
    error = error_from_engine(ErrorInfo(message="boom", type="x", code=500), CHAT)
    assert (error.status, error.code) == (503, "expert_failed")


def small():
    app = surface(body_bytes=100)

    @app.post("/echo")
    async def echo(body: Body) -> Body:
        return body

    return TestClient(app)


def test_a_body_that_is_too_large_is_refused_by_its_length():
    answer = small().post("/echo", json={"messages": ["x" * 200]})
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "request_too_large"
    assert small().post("/echo", json={"n": 2}).json()["n"] == 2


def test_and_by_what_came_where_it_does_not_say_its_length():
    def parts():
        for _ in range(50):
            yield b"[[[[[[[[[["

    answer = small().post("/echo", content=parts(), headers=JSON)
    assert answer.status_code == 413
    assert "more than 100 bytes" in answer.json()["error"]["message"]


def test_when_to_come_back_is_a_header():
    app = surface()

    @app.get("/busy")
    async def busy() -> None:
        error = Overloaded("full")
        error.retry_after_s = 1.2
        raise error

    answer = TestClient(app).get("/busy")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
