"""Errors in OpenAI's form, without Ray: the FastAPI application alone."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel, Field
from ray.serve.llm.openai_api_models import ChatCompletionRequest, CompletionRequest

from serve.errors import ExpertUnavailable, InvalidRequest, UnknownModel
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
    async def fail(name: str) -> None:
        raise ERRORS[name][0]

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
