"""Clients as people use them, unchanged: openai, anthropic, and LangChain's ChatOpenAI."""

from __future__ import annotations

import anthropic
import openai
import pytest
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field

from tests.e2e.conftest import ANSWER_TIMEOUT_S, EXPERTS

HELLO = [{"role": "user", "content": "Tell me a long story about the sea."}]
LONG = "word " * 5000
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def claude(application):
    return anthropic.Anthropic(base_url=application.url, api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def chain(application):
    def make(**fields):
        given = {"model": "auto", "max_tokens": 16, "temperature": 0} | fields
        return ChatOpenAI(
            base_url=f"{application.url}/v1",
            api_key="none",
            max_retries=0,
            timeout=ANSWER_TIMEOUT_S,
            **given,
        )

    return make


class City(BaseModel):
    """A city."""

    city: str = Field(max_length=20)


class TestOpenai:
    def test_chat_and_its_stream_say_who_answered(self, client, model):
        asked = {"model": model, "messages": HELLO, "max_tokens": 8}
        raw = client.chat.completions.with_raw_response.create(**asked)
        assert raw.headers["x-pointsman-expert"] == raw.parse().model
        with client.with_options(
            timeout=ANSWER_TIMEOUT_S
        ).chat.completions.with_streaming_response.create(**asked, stream=True) as raw:
            assert raw.headers["x-pointsman-expert"] in EXPERTS
            assert "".join(c.choices[0].delta.content or "" for c in raw.parse() if c.choices)

    def test_completions(self, client, model):
        raw = client.completions.with_raw_response.create(
            model=model, prompt="One, two,", max_tokens=8
        )
        assert raw.headers["x-pointsman-expert"] in EXPERTS
        assert raw.parse().choices[0].text

    def test_responses(self, client, model):
        raw = client.responses.with_raw_response.create(
            model=model, instructions="Be brief.", input=HELLO[0]["content"], max_output_tokens=16
        )
        answer = raw.parse()
        assert raw.headers["x-pointsman-expert"] == answer.model
        assert answer.output_text.strip() and answer.object == "response"
        assert 0 < answer.usage.output_tokens <= 16
        assert answer.usage.cost_usd >= 0

    def test_responses_stream(self, client, model):
        stream = client.responses.create(
            model=model, input=HELLO, max_output_tokens=16, stream=True
        )
        events = list(stream)
        assert events[0].type == "response.created"
        texts = [e.delta for e in events if e.type == "response.output_text.delta"]
        assert len(texts) > 1, "one event is no stream"
        last = events[-1]
        assert last.type == "response.completed" and last.response.model in EXPERTS
        assert last.response.output_text == "".join(texts)
        assert 0 < last.response.usage.output_tokens <= 16
        assert last.response.usage.cost_usd >= 0

    def test_responses_keep_the_form_that_is_asked(self, client, model):
        answer = client.responses.parse(
            model=model, input="Name a city.", text_format=City, max_output_tokens=64
        )
        assert isinstance(answer.output_parsed, City)

    def test_a_call_and_its_result_go_back_and_forth(self, client, model):
        tool = {"type": "function", "name": "weather", "parameters": WEATHER, "strict": True}
        asked = {"role": "user", "content": "What is the weather in Paris?"}
        chosen = {"type": "function", "name": "weather"}
        first = client.responses.create(
            model=model, input=[asked], tools=[tool], tool_choice=chosen, max_output_tokens=64
        )
        call = next(item for item in first.output if item.type == "function_call")
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "Rain"}
        second = client.responses.create(
            model=model, input=[asked, call, result], max_output_tokens=8
        )
        assert second.output_text is not None

    @pytest.mark.parametrize(
        "fields",
        [
            {"previous_response_id": "resp_1"},
            {"background": True},
            {"conversation": "conv_1"},
            {"tools": [{"type": "web_search"}]},
        ],
    )
    def test_what_is_not_kept_between_requests_is_not_implemented(self, client, fields):
        with pytest.raises(openai.APIStatusError) as caught:
            client.responses.create(model="auto", input="Hello", **fields)
        assert caught.value.status_code == 501
        assert caught.value.code == "not_configured"
        assert caught.value.param == next(iter(fields))

    def test_a_refused_response_says_why(self, client, model):
        for fields in ({"input": LONG}, {"input": "Hello", "top_p": 2}):
            for stream in (False, True):
                with pytest.raises(openai.BadRequestError) as caught:
                    client.responses.create(model=model, stream=stream, **fields)
                assert caught.value.param == next(reversed(fields))

    def test_embeddings_need_an_expert_that_embeds(self, client):
        with pytest.raises(openai.APIStatusError) as caught:
            client.embeddings.create(model="auto", input="Hello")
        assert caught.value.status_code == 501
        assert "runner: pooling" in caught.value.message

    def test_models(self, client):
        assert {"auto", *EXPERTS} <= {card.id for card in client.models.list()}


class TestAnthropic:
    def test_messages(self, claude, model):
        raw = claude.messages.with_raw_response.create(
            model=model, system="Be brief.", messages=HELLO, max_tokens=16
        )
        answer = raw.parse()
        assert raw.headers["x-pointsman-expert"] == answer.model
        assert answer.content[0].text.strip() and answer.role == "assistant"
        assert answer.usage.input_tokens > 0 and 0 < answer.usage.output_tokens <= 16
        assert answer.usage.cost_usd >= 0
        assert answer.stop_reason in ("end_turn", "max_tokens", "stop_sequence")

    def test_messages_stream(self, claude, model):
        with claude.messages.stream(model=model, messages=HELLO, max_tokens=16) as stream:
            texts = list(stream.text_stream)
            final = stream.get_final_message()
        assert len(texts) > 1, "one event is no stream"
        assert final.content[0].text == "".join(texts)
        assert final.model in EXPERTS
        assert 0 < final.usage.output_tokens <= 16

    def test_a_tool_is_called(self, claude, model):
        answer = claude.messages.create(
            model=model,
            messages=[{"role": "user", "content": "What is the weather in Paris?"}],
            tools=[{"name": "weather", "input_schema": WEATHER}],
            tool_choice={"type": "tool", "name": "weather"},
            max_tokens=64,
        )
        (call,) = [block for block in answer.content if block.type == "tool_use"]
        assert call.name == "weather" and set(call.input) == {"city"}

    def test_tokens_are_counted_as_they_are_used(self, claude):
        for expert in EXPERTS:
            counted = claude.messages.count_tokens(model=expert, messages=HELLO)
            used = claude.messages.create(model=expert, messages=HELLO, max_tokens=1)
            assert counted.input_tokens == used.usage.input_tokens > 0
        assert claude.messages.count_tokens(model="auto", messages=HELLO).input_tokens > 0

    def test_errors_are_read_by_their_kind(self, claude):
        with pytest.raises(anthropic.NotFoundError) as unknown:
            claude.messages.create(model="claude", messages=HELLO, max_tokens=4)
        assert unknown.value.body["error"]["type"] == "not_found_error"
        long = [{"role": "user", "content": LONG}]
        for fields in ({"messages": []}, {"extra_body": {"top_p": 2}}, {"messages": long}):
            for stream in (False, True):
                given = {"model": "auto", "messages": HELLO, "max_tokens": 4} | fields
                with pytest.raises(anthropic.BadRequestError) as caught:
                    claude.messages.create(stream=stream, **given)
                assert caught.value.body["error"]["type"] == "invalid_request_error"


class TestLangchain:
    def test_invoke(self, chain, model):
        answer = chain(model=model).invoke("What is the capital of France?")
        assert answer.content.strip()
        assert answer.response_metadata["model_name"] in EXPERTS
        assert answer.usage_metadata["output_tokens"] <= 16

    def test_stream(self, chain, model):
        parts = list(chain(model=model).stream("Tell me a long story about the sea."))
        assert len([part for part in parts if part.content]) > 1

    def test_the_responses_api(self, chain, model):
        answer = chain(model=model, use_responses_api=True).invoke("What is the capital of France?")
        assert answer.text.strip()

    def test_structured_output(self, chain, model):
        reader = chain(model=model, max_tokens=64).with_structured_output(City)
        assert isinstance(reader.invoke("Name a city."), City)

    def test_tools(self, chain, model):
        def weather(city: str) -> str:
            """The weather of a city."""
            return city

        bound = chain(model=model, max_tokens=64).bind_tools([weather], tool_choice="weather")
        (call,) = bound.invoke("What is the weather in Paris?").tool_calls
        assert call["name"] == "weather" and set(call["args"]) == {"city"}
