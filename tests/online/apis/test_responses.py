"""OpenAI's Responses with vLLM's own classes and OpenAI's own client; no engine."""

from __future__ import annotations

import json
import pickle

import httpx2
import openai
import pytest
from vllm.entrypoints.openai.responses.protocol import (
    InputTokensDetails,
    OutputTokensDetails,
    ResponseCompletedEvent,
    ResponseCreatedEvent,
    ResponsesRequest,
    ResponsesResponse,
    ResponseUsage,
)
from vllm.sampling_params import SamplingParams

from serve.config import ExpertSettings
from serve.encoding.prompt import chat_query
from serve.errors import ExpertUnavailable, InvalidRequest, NotConfigured
from serve.online.apis.base import Bill, Usage, change_events
from serve.online.apis.responses import Responses

API = Responses()
BILL = Bill(1.0, 2.0, 3.0)
TOOL = {"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}
SCHEMA = {"type": "json_schema", "name": "c", "schema": {"type": "object"}}
ENDED = {"outcome": {"type": "exit", "exit_code": 0}, "stdout": "x", "stderr": ""}
PICTURE = {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "auto"}


def body(**fields):
    return ResponsesRequest(**({"model": "auto", "input": "Hello"} | fields))


def test_the_routing_text_is_that_of_the_same_chat():
    talk = body(
        instructions="Be brief.",
        max_output_tokens=7,
        input=[
            {"role": "user", "content": [{"type": "input_text", "text": "Weather in Paris?"}]},
            {"type": "reasoning", "id": "r", "summary": []},
            {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "Rain"},
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "Rain it is."}],
            },
            {"role": "user", "content": "An umbrella?"},
        ],
    )
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather in Paris?"},
        {"role": "assistant", "tool_calls": [{"function": {"name": "weather"}}]},
        {"role": "tool", "content": "Rain"},
        {"role": "assistant", "content": "Rain it is."},
        {"role": "user", "content": "An umbrella?"},
    ]
    assert API.query(talk) == chat_query(chat, 7)
    assert API.query(body(instructions="Be brief.")).text == "Be brief.\nHello"


@pytest.mark.parametrize("given", [[], "\ud800", [{"type": "reasoning", "id": "r", "summary": []}]])
def test_what_cannot_be_read_is_refused(given):
    with pytest.raises(InvalidRequest) as caught:
        API.query(body(input=given))
    assert caught.value.param == "input"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
    ],
)
def test_what_no_replica_keeps_is_not_implemented(fields, param):
    with pytest.raises(NotConfigured) as caught:
        API.query(body(**fields))
    assert (caught.value.status, caught.value.param) == (501, param)


def test_every_kind_of_item_can_travel_to_its_expert():
    told = {"type": "shell_call_output", "call_id": "c", "output": [ENDED], "status": "completed"}
    given = body(input=[told, {"role": "user", "content": "So?"}])
    assert API.query(given).text == "So?"
    sent = pickle.loads(pickle.dumps(given))
    assert sent.input[0]["output"] == [ENDED]


def test_an_item_of_the_wrong_form_is_refused_when_it_is_read():
    wrong = {"type": "shell_call_output", "call_id": "c", "output": [{"outcome": 7}]}
    with pytest.raises(InvalidRequest) as caught:
        API.query(body(input=[wrong, {"role": "user", "content": "So?"}]))
    assert caught.value.param == "input"


def test_needs():
    assert API.needs(body()) == API.needs(body(text={"format": {"type": "text"}}))
    tools = API.needs(body(tools=[TOOL]))
    assert tools.tools and tools.extra_tokens == len(json.dumps([TOOL])) // 4
    assert not API.needs(body(tools=[TOOL], tool_choice="none")).tools
    assert API.needs(body(text={"format": SCHEMA})).structured
    assert API.needs(body(text={"format": {"type": "json_object"}})).structured
    assert API.needs(body(input=[{"role": "user", "content": [PICTURE]}])).images
    assert API.needs(body(include=["message.output_text.logprobs"])).logprobs


def test_the_expert_gets_a_copy_with_its_name_and_its_defaults():
    defaults = {"temperature": 0.2, "max_tokens": 99, "repetition_penalty": 1.1, "stop": ["Q:"]}
    expert = ExpertSettings(id="small", model="org/model", defaults=defaults)
    given = body(temperature=0.0, stop="END")
    addressed = API.address(given, expert)
    assert (addressed.model, addressed.store, addressed.temperature) == ("small", False, 0.0)
    assert (addressed.max_output_tokens, addressed.repetition_penalty) == (99, 1.1)
    assert addressed.stop == ["END", "Q:"]
    assert API.address(body(max_output_tokens=3), expert).max_output_tokens == 3
    assert (given.model, given.store, given.stop) == ("auto", True, "END")


def response(status, usage=None):
    return ResponsesResponse.from_request(
        body(store=False),
        SamplingParams(max_tokens=7),
        model_name="small",
        created_time=1,
        output=[],
        status=status,
        usage=usage,
    )


def done():
    return response(
        "completed",
        ResponseUsage(
            input_tokens=7,
            input_tokens_details=InputTokensDetails(cached_tokens=0),
            output_tokens=5,
            output_tokens_details=OutputTokensDetails(),
            total_tokens=12,
        ),
    )


def stream():
    """As vLLM writes it."""
    events = [
        ResponseCreatedEvent(
            type="response.created",
            sequence_number=0,
            response=response("in_progress").model_dump(mode="json", by_alias=True),
        ),
        ResponseCompletedEvent(type="response.completed", sequence_number=1, response=done()),
    ]
    return [f"event: {e.type}\ndata: {e.model_dump_json(by_alias=True)}\n\n" for e in events]


def test_usage_and_bill_of_a_whole_response():
    answer = done().model_dump(mode="json", by_alias=True)
    assert API.usage(answer) == Usage(7, 5)
    billed = API.billed(answer, BILL)
    assert billed["usage"]["cost_usd"] == 1.0 and billed["usage"]["total_tokens"] == 12
    assert "cost_usd" not in answer["usage"]


def test_usage_of_a_stream_is_in_its_last_event():
    marked = [text for text in stream() if API.usage_mark in text]
    assert [text.split("\n")[0] for text in marked] == ["event: response.completed"]
    found = []
    changed = change_events(marked[0], lambda e: found.append(API.usage(e)) or API.billed(e, BILL))
    assert found == [Usage(7, 5)]
    assert '"cost_usd_best_single":3.0' in changed
    first = change_events(stream()[0], lambda e: API.billed(e, BILL))
    assert "cost_usd" not in first


def test_a_stream_has_begun_after_what_vllm_says_before_it_and_ends_with_its_last_event():
    assert [API.begun(text) for text in stream()] == [False, True]
    assert [API.end_mark in text for text in stream()] == [False, True]


def test_the_ids_of_calls_are_in_the_turns():
    call = {"type": "function_call", "call_id": "c", "name": "weather", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c", "output": "Rain"}
    called, answered = API.turns(body(input=[call, result]))
    assert called["tool_calls"][0]["id"] == answered["tool_call_id"] == "c"


def ask(text):
    def handle(request):
        return httpx2.Response(200, text=text, headers={"content-type": "text/event-stream"})

    http = openai.DefaultHttpxClient(transport=httpx2.MockTransport(handle))
    client = openai.OpenAI(api_key="x", base_url="http://x/v1", http_client=http, max_retries=0)
    return client.responses.create(model="auto", input="Hello", stream=True)


def test_openais_client_reads_a_billed_stream():
    events = list(ask("".join(change_events(e, lambda d: API.billed(d, BILL)) for e in stream())))
    assert [e.type for e in events] == ["response.created", "response.completed"]
    assert events[1].response.usage.output_tokens == 5
    assert events[1].response.usage.cost_usd == 1.0


def test_openais_client_raises_at_a_failure():
    events = ask(stream()[0] + API.failure(ExpertUnavailable("Expert small failed")))
    assert next(events).type == "response.created"
    with pytest.raises(openai.APIError, match="Expert small failed") as caught:
        next(events)
    assert caught.value.code == "expert_unavailable"


def test_a_failure_is_an_error_event_as_it_is_documented():
    data = json.loads(API.failure(ExpertUnavailable("down")).split("data: ")[1])
    event = openai.types.responses.ResponseErrorEvent.model_validate(data)
    assert (event.type, event.message, event.code) == ("error", "down", "expert_unavailable")
