"""Anthropic's Messages with vLLM's own classes and Anthropic's own client; no engine."""

from __future__ import annotations

import json

import anthropic
import httpx2
import pytest
from vllm.entrypoints.anthropic.protocol import (
    AnthropicDelta,
    AnthropicMessagesResponse,
    AnthropicStreamEvent,
    AnthropicUsage,
)

from serve.config import ExpertSettings
from serve.encoding.prompt import chat_query
from serve.errors import ExpertUnavailable, InvalidRequest
from serve.online.apis.base import Bill, Usage, change_events
from serve.online.apis.messages import CountTokensRequest, Messages, MessagesRequest

API = Messages()
HELLO = [{"role": "user", "content": "Hello"}]
BILL = Bill(1.0, 2.0, 3.0)
TOOL = {"name": "weather", "input_schema": {"type": "object", "properties": {}}}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}


def body(**fields):
    return MessagesRequest(**({"messages": HELLO, "max_tokens": 7} | fields))


def test_the_routing_text_is_that_of_the_same_chat():
    talk = body(
        system=[
            {"type": "text", "text": "x-anthropic-billing-header: cch=1f"},
            {"type": "text", "text": "Be brief."},
        ],
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "Weather in Paris?"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "x"},
                    {"type": "tool_use", "id": "c", "name": "weather", "input": {"city": "Paris"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c", "content": "Rain"},
                    {"type": "text", "text": "An umbrella?"},
                ],
            },
        ],
    )
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather in Paris?"},
        {"role": "assistant", "tool_calls": [{"function": {"name": "weather"}}]},
        {"role": "tool", "content": "Rain"},
        {"role": "user", "content": "An umbrella?"},
    ]
    assert API.query(talk) == chat_query(chat, 7)
    assert API.query(talk).text == "Be brief.\nWeather in Paris?\nweather\nRain\nAn umbrella?"


def test_a_system_text_of_its_own_comes_first_and_the_last_question_last():
    talk = body(system="Be brief.", messages=[*HELLO, {"role": "assistant", "content": "Hi"}])
    assert API.query(talk).text == "Be brief.\nHi\nHello"
    assert API.turns(CountTokensRequest(messages=HELLO)) == [{"role": "user", "content": "Hello"}]


@pytest.mark.parametrize("messages", [[], [{"role": "user", "content": "\ud800"}]])
def test_what_cannot_be_read_is_refused(messages):
    with pytest.raises(InvalidRequest) as caught:
        API.query(body(messages=messages))
    assert caught.value.param == "messages"


def test_no_text_at_all_is_still_a_query():
    assert API.query(body(messages=[{"role": "user", "content": []}])).text == ""


def test_needs():
    assert API.needs(body()) == API.needs(body(tools=[]))
    tools = API.needs(body(tools=[TOOL]))
    assert tools.tools and tools.extra_tokens == len(json.dumps([TOOL])) // 4
    assert not API.needs(body(tools=[TOOL], tool_choice={"type": "none"})).tools
    form = {"format": {"type": "json_schema", "schema": {"type": "object"}}}
    assert API.needs(body(output_config=form)).structured
    inside = {"type": "tool_result", "tool_use_id": "c", "content": [IMAGE]}
    for block in (IMAGE, inside):
        assert API.needs(body(messages=[{"role": "user", "content": [block]}])).images


def test_the_expert_gets_a_copy_with_its_name_and_its_defaults():
    defaults = {"temperature": 0.2, "max_tokens": 99, "repetition_penalty": 1.1, "stop": ["Q:"]}
    expert = ExpertSettings(id="small", model="org/model", defaults=defaults)
    given = body(temperature=0.0, stop_sequences=["END"])
    addressed = API.address(given, expert)
    assert (addressed.model, addressed.temperature, addressed.max_tokens) == ("small", 0.0, 7)
    assert addressed.stop_sequences == ["END", "Q:"] and addressed.repetition_penalty == 1.1
    assert (given.model, given.stop_sequences) == ("auto", ["END"])


def whole():
    usage = AnthropicUsage(input_tokens=3, output_tokens=5, cache_read_input_tokens=4)
    return AnthropicMessagesResponse(id="m", content=[], model="small", usage=usage)


def event(**fields):
    told = AnthropicStreamEvent(**fields)
    return f"event: {told.type}\ndata: {told.model_dump_json(exclude_unset=True)}\n\n"


def stream():
    """As vLLM writes it."""
    text = AnthropicDelta(type="text_delta", text="Hi")
    end = AnthropicDelta(stop_reason="end_turn")
    usage = AnthropicUsage(input_tokens=7, output_tokens=5)
    start = AnthropicMessagesResponse(
        id="m",
        type="message",
        role="assistant",
        content=[],
        model="small",
        usage=AnthropicUsage(input_tokens=7, output_tokens=0),
    )
    return [
        event(type="message_start", message=start),
        event(type="content_block_delta", index=0, delta=text),
        event(type="message_delta", delta=end, usage=usage),
        event(type="message_stop"),
    ]


def test_usage_and_bill_of_a_whole_message():
    answer = whole().model_dump(exclude_none=True)
    assert API.usage(answer) == Usage(7, 5)
    billed = API.billed(answer, BILL)
    assert billed["usage"]["cost_usd"] == 1.0 and billed["usage"]["output_tokens"] == 5
    assert "cost_usd" not in answer["usage"]


def test_usage_of_a_stream_is_at_its_end():
    marked = [text for text in stream() if API.usage_mark in text]
    assert len(marked) == 1
    found = []
    changed = change_events(marked[0], lambda e: found.append(API.usage(e)) or API.billed(e, BILL))
    assert found == [Usage(7, 5)]
    assert '"cost_usd_priciest":2.0' in changed and changed.startswith("event: message_delta\n")
    for text in set(stream()) - set(marked):
        assert change_events(text, lambda e: API.billed(e, BILL)).count("cost_usd") == 0


def test_a_stream_has_begun_with_its_first_block_and_ends_with_its_last_event():
    assert [API.begun(text) for text in stream()] == [False, True, True, False]
    assert [API.end_mark in text for text in stream()] == [False, False, False, True]


def test_the_ids_of_calls_are_in_the_turns():
    used = {"type": "tool_use", "id": "c", "name": "weather", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "c", "content": "Rain"}
    talk = [{"role": "assistant", "content": [used]}, {"role": "user", "content": [result]}]
    called, answered = API.turns(body(messages=talk))
    assert called["tool_calls"][0]["id"] == answered["tool_call_id"] == "c"
    assert answered["role"] == "tool"


def test_what_a_request_says_of_its_routing_is_kept():
    assert body(routing={"explain": True}).__pydantic_extra__ == {"routing": {"explain": True}}


def client_of(text):
    def handle(request):
        return httpx2.Response(200, text=text, headers={"content-type": "text/event-stream"})

    http = anthropic.DefaultHttpxClient(transport=httpx2.MockTransport(handle))
    return anthropic.Anthropic(api_key="x", http_client=http, max_retries=0)


def ask(text):
    return client_of(text).messages.create(model="auto", max_tokens=7, messages=HELLO, stream=True)


def test_anthropics_client_reads_a_billed_stream():
    text = "".join(change_events(e, lambda d: API.billed(d, BILL)) for e in stream())
    events = list(ask(text))
    assert [e.type for e in events][-2:] == ["message_delta", "message_stop"]
    assert events[-2].usage.output_tokens == 5 and events[-2].usage.cost_usd == 1.0


def test_anthropics_client_raises_at_a_failure():
    text = stream()[0] + API.failure(ExpertUnavailable("Expert small failed"))
    events = ask(text)
    assert next(events).type == "message_start"
    with pytest.raises(anthropic.APIStatusError, match="Expert small failed") as caught:
        next(events)
    assert caught.value.body["error"]["type"] == "overloaded_error"
