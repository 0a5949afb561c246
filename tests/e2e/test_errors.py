"""Errors as OpenAI writes them, over real HTTP; nothing answers 500."""

from __future__ import annotations

import json

import openai
import pytest

from tests.e2e.conftest import EXPERTS

CHAT, COMPLETIONS, ROUTE = "/v1/chat/completions", "/v1/completions", "/v1/route"
HELLO = [{"role": "user", "content": "Hello"}]
LONG = "word " * 5000


def chat(**fields):
    return {"model": "auto", "messages": HELLO, "max_tokens": 4} | fields


def completion(**fields):
    return {"model": "auto", "prompt": "Hello", "max_tokens": 4} | fields


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        (CHAT, chat(model="gpt-4"), 404, "model"),
        (COMPLETIONS, completion(model="gpt-4"), 404, "model"),
        (CHAT, chat(model=7), 400, "model"),
        (CHAT, chat(messages=[]), 400, "messages"),
        (CHAT, chat(messages="Hello"), 400, "messages"),
        (CHAT, chat(messages=[{"content": "x"}]), 400, "messages"),
        (CHAT, chat(messages=[{"role": "user", "content": 7}]), 400, "messages"),
        (CHAT, {"model": "auto"}, 400, "messages"),
        (CHAT, chat(max_tokens="many"), 400, "max_tokens"),
        (CHAT, chat(max_tokens=0), 400, "max_tokens"),
        (CHAT, chat(max_tokens=10**6), 400, "max_tokens"),
        (CHAT, chat(model=EXPERTS[0], max_tokens=10**6), 400, "max_tokens"),
        (CHAT, chat(max_completion_tokens=10**6), 400, "max_completion_tokens"),
        (CHAT, chat(messages=[{"role": "user", "content": LONG}]), 400, "messages"),
        (
            CHAT,
            chat(model=EXPERTS[1], messages=[{"role": "user", "content": LONG}]),
            400,
            "messages",
        ),
        (COMPLETIONS, completion(prompt=LONG), 400, "prompt"),
        (COMPLETIONS, completion(max_tokens=10**6), 400, "max_tokens"),
        (COMPLETIONS, completion(prompt=[1, 2, 3]), 400, "prompt"),
        (COMPLETIONS, {"model": "auto"}, 400, "prompt"),
        (CHAT, chat(temperature=-1), 400, "temperature"),
        (CHAT, chat(temperature="hot"), 400, "temperature"),
        (CHAT, chat(top_p=2), 400, "top_p"),
        (CHAT, chat(n=0), 400, "n"),
        (CHAT, chat(stop=7), 400, "stop"),
        (CHAT, chat(stream="maybe"), 400, "stream"),
        (CHAT, chat(tools="hammer"), 400, "tools"),
        (CHAT, chat(response_format={"type": "poem"}), 400, "response_format"),
        (ROUTE, {}, 400, "messages"),
        (ROUTE, {"messages": "Hello"}, 400, "messages"),
        (ROUTE, {"prompt": 7}, 400, "prompt"),
    ],
)
def test_a_mistake_names_its_field(application, path, body, status, param):
    got, answer, headers = application.post(path, body)
    assert got == status, answer
    error = answer["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param, error
    assert error["message"] and "Traceback" not in error["message"]
    assert error["type"] == "invalid_request_error"
    assert headers["x-request-id"]


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, ROUTE])
@pytest.mark.parametrize("body", [b"{", b"", b"[]", b"null", b"\xff\xfe", b'"text"', b"7"])
def test_a_broken_body_is_a_400(application, path, body):
    status, answer, _ = application.post(path, body)
    assert status == 400, answer
    assert set(answer["error"]) == {"message", "type", "param", "code"}


ODD = [
    r'"messages": [{"role": "user", "content": "\ud800"}]',
    r'"model": "smollm2-135m", "messages": [{"role": "user", "content": "\ud800"}]',
    '"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": ""}}]}]',
    '"messages": [{"role": "user", "content": null}]',
    '"messages": [{"role": "assistant", "content": null}]',
    '"temperature": NaN',
    '"temperature": 1e400',
    '"seed": 99999999999999999999999',
    '"logit_bias": {"-1": 5}',
    '"logit_bias": {"9999999": 5}',
    '"logprobs": true, "top_logprobs": 5000',
    '"chat_template": "{{ boom("',
    '"chat_template_kwargs": {"messages": 7}',
    '"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": 7}}',
    '"response_format": {"type": "json_object"}, "tools": []',
    '"tools": [], "tool_choice": "required"',
    '"tool_choice": "required"',
    '"stream_options": {"include_usage": true}',
    '"stop": ["", "a"]',
    '"stop_token_ids": [-1]',
    '"min_tokens": 50',
    '"priority": 5',
    '"prompt_logprobs": 100000',
    '"add_generation_prompt": true, "continue_final_message": true',
]


@pytest.mark.parametrize("fields", ODD)
@pytest.mark.parametrize("stream", [False, True])
def test_odd_requests_never_answer_500(application, fields, stream):
    body = {"model": "auto", "messages": HELLO, "max_tokens": 4}
    given = json.dumps(body)[1:-1]
    status, answer = application.raw(
        CHAT, f'{{{given}, {fields}, "stream": {str(stream).lower()}}}'
    )
    assert status in (200, 400), answer
    if status == 400:
        assert set(json.loads(answer)["error"]) == {"message", "type", "param", "code"}


def test_an_unknown_model_lists_the_known_ones(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-4", messages=HELLO)
    assert caught.value.code == "model_not_found"
    for name in ["auto", *EXPERTS]:
        assert name in caught.value.message


def test_unknown_paths_and_methods_keep_the_form(application):
    for path, status in [("/v2/nothing", 404), (CHAT, 405), ("/v1/models/nobody", 404)]:
        got, text = application.get(path)
        assert got == status
        assert '"error"' in text and '"message"' in text
