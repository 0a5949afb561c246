from __future__ import annotations

import pytest
from ray.serve.llm.openai_api_models import ChatCompletionRequest, CompletionRequest

from serve.config import ExpertSettings
from serve.errors import InvalidRequest
from serve.online.body import RouteRequest, fill_defaults, read_chat, read_completion, read_route

HELLO = [{"role": "user", "content": "Hello"}]


def chat(**fields):
    return ChatCompletionRequest(**({"model": "auto", "messages": HELLO} | fields))


def expert(**defaults):
    return ExpertSettings(id="e", model="org/model", defaults=defaults)


def test_a_chat_and_its_route_body_are_the_same_query():
    body = {"messages": HELLO, "max_tokens": 7}
    assert read_chat(chat(**body)) == read_route(RouteRequest(**body))
    assert read_chat(chat(max_completion_tokens=9)).max_output_tokens == 9


def test_content_parts_can_still_be_read_after_the_router_read_them():
    body = chat(messages=[{"role": "user", "content": [{"type": "text", "text": "Hello"}]}])
    assert read_chat(body).text == "Hello"
    assert read_chat(body).text == "Hello"
    assert body.messages[0]["content"] == [{"type": "text", "text": "Hello"}]


@pytest.mark.parametrize(
    ("read", "body", "param"),
    [
        (read_chat, chat(messages=[]), "messages"),
        (read_chat, chat(messages=[{"role": "user", "content": "\ud800"}]), "messages"),
        (read_completion, CompletionRequest(model="auto", prompt="\ud800"), "prompt"),
        (read_completion, CompletionRequest(model="auto", prompt=[1, 2]), "prompt"),
        (read_completion, CompletionRequest(prompt=[1, 2]), "prompt"),
        (read_route, RouteRequest(), "messages"),
        (read_route, RouteRequest(messages=[]), "messages"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_field(read, body, param):
    with pytest.raises(InvalidRequest) as caught:
        read(body)
    assert caught.value.param == param
    assert caught.value.status == 400


def test_token_ids_are_fine_for_an_expert_of_ones_own_choice():
    assert read_completion(CompletionRequest(model="small", prompt=[1, 2])).text == ""


def test_several_prompts_are_read_together():
    body = CompletionRequest(model="auto", prompt=["one", "two"])
    assert read_completion(body).text == "one\ntwo"


@pytest.mark.parametrize(
    "messages", [[{"content": 7}], [{"tool_calls": "x"}], [{"role": []}], [{}]]
)
def test_route_takes_any_json_for_a_message(messages):
    assert read_route(RouteRequest(messages=messages)).text == ""


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
