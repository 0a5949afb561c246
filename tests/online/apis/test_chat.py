from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from serve.config import ExpertSettings
from serve.errors import ExpertUnavailable, InvalidRequest
from serve.online.apis.base import Bill, Usage
from serve.online.apis.chat import Chat, ChatRequest, fill_defaults

HELLO = [{"role": "user", "content": "Hello"}]
CHAT = Chat()
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}


def chat(**fields):
    return ChatRequest(**({"model": "auto", "messages": HELLO} | fields))


def expert(**defaults):
    return ExpertSettings(id="e", model="org/model", defaults=defaults)


def event(**fields):
    return f"data: {json.dumps({'choices': [{'index': 0, **fields}]}, separators=(',', ':'))}\n\n"


def test_either_name_of_the_limit_is_read():
    assert CHAT.query(chat(max_tokens=7)).max_output_tokens == 7
    assert CHAT.query(chat(max_completion_tokens=9)).max_output_tokens == 9


def test_content_parts_can_still_be_read_after_the_router_read_them():
    body = chat(messages=[{"role": "user", "content": [{"type": "text", "text": "Hello"}]}])
    assert CHAT.query(body).text == "Hello"
    assert CHAT.query(body).text == "Hello"
    assert body.messages[0]["content"] == [{"type": "text", "text": "Hello"}]


@pytest.mark.parametrize("messages", [[], [{"role": "user", "content": "\ud800"}]])
def test_what_cannot_be_read_is_refused_with_its_field(messages):
    with pytest.raises(InvalidRequest) as caught:
        CHAT.query(chat(messages=messages))
    assert (caught.value.param, caught.value.status) == ("messages", 400)


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        ({}, set()),
        ({"tools": [TOOL]}, {"tools"}),
        ({"tools": [TOOL], "tool_choice": "none"}, set()),
        ({"response_format": {"type": "json_object"}}, {"structured"}),
        ({"response_format": {"type": "text"}}, set()),
        ({"logprobs": True}, {"logprobs"}),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, {"images"}),
    ],
)
def test_what_an_expert_must_be_able_to_do(fields, needed):
    body = chat(**fields)
    CHAT.query(body)
    needs = CHAT.needs(body)
    assert {name for name, value in vars(needs).items() if value is True} == needed
    assert (needs.extra_tokens > 0) == ("tools" in fields)


def test_a_role_alone_does_not_begin_an_answer():
    assert not CHAT.begun(event(delta={"role": "assistant", "content": ""}))
    assert CHAT.begun(event(delta={"content": "H"}))
    assert CHAT.begun(event(delta={"tool_calls": [{"index": 0}]}))
    assert CHAT.begun(event(delta={}, finish_reason="stop"))


def test_an_addressed_body_is_a_copy_that_ends_in_usage():
    body = chat(stream=True)
    sent = CHAT.address(body, expert(max_tokens=5))
    assert (sent.model, sent.max_tokens, sent.stream_options.include_usage) == ("e", 5, True)
    assert (body.model, body.max_tokens, body.stream_options) == ("auto", None, None)
    assert CHAT.address(chat(), expert()).stream_options is None


def test_usage_goes_to_the_client_only_where_it_was_asked_for():
    last = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}
    assert CHAT.usage(last) == Usage(3, 4)
    assert not CHAT.asked_for(chat(stream=True), last)
    assert CHAT.asked_for(chat(stream=True, stream_options={"include_usage": True}), last)
    billed = CHAT.billed(last, Bill(1.0, 3.0, 2.0))["usage"]
    assert billed["cost_usd"] == 1.0 and billed["prompt_tokens"] == 3


def test_a_broken_stream_ends_in_an_error_event():
    error, done, _ = CHAT.failure(ExpertUnavailable("died")).split("\n\n")
    assert json.loads(error.removeprefix("data: "))["error"]["message"] == "died"
    assert done == "data: [DONE]"


def test_defaults_fill_what_the_client_left_out_and_nothing_else():
    body = chat(temperature=0.0)
    fill_defaults(body, expert(temperature=0.7, max_tokens=64, top_p=0.9))
    assert (body.temperature, body.max_tokens, body.top_p) == (0.0, 64, 0.9)
    newer = chat(max_completion_tokens=5)
    fill_defaults(newer, expert(max_tokens=64))
    assert newer.max_tokens is None


@pytest.mark.parametrize(
    ("given", "merged"), [(None, ["Q:"]), ("a", ["a", "Q:"]), (["a", "b"], ["a", "b", "Q:"])]
)
def test_stop_strings_are_added_to_the_clients(given, merged):
    body = chat(stop=given)
    fill_defaults(body, expert(stop=["Q:"]))
    assert body.stop == merged


@pytest.mark.parametrize("messages", [None, 7, True, [None], [7], {"role": "user"}])
def test_what_vllms_own_checks_stumble_over_is_refused(messages):
    with pytest.raises(ValidationError):
        ChatRequest.model_validate({"messages": messages})
