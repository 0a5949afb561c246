"""The openai client, unchanged, against the real application."""

from __future__ import annotations

import json

from tests.e2e.conftest import EXPERTS

QUESTION = [{"role": "user", "content": "What is 17 * 23?"}]
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
}


PREFERENCES = [f"auto:{name}" for name in ("quality", "balanced", "cheap", "fast")]


def test_models_lists_auto_and_every_expert(client):
    listed = client.models.list()
    assert [card.id for card in listed] == ["auto", *PREFERENCES, *EXPERTS]
    assert all(card.created > 0 and card.owned_by == "pointsman" for card in listed)
    assert client.models.retrieve("auto").id == "auto"


def test_chat(client, model):
    answer = client.chat.completions.create(model=model, messages=QUESTION, max_tokens=24)
    assert answer.choices[0].message.content.strip()
    assert answer.model in (EXPERTS if model == "auto" else [model])
    assert answer.usage.completion_tokens <= 24


def test_chat_streams(client, model):
    stream = client.chat.completions.create(
        model=model,
        messages=QUESTION,
        max_tokens=16,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    texts = [c.choices[0].delta.content for c in chunks if c.choices and c.choices[0].delta.content]
    assert len(texts) > 1, "one chunk is no stream"
    assert chunks[-1].usage.completion_tokens <= 16


def test_the_raw_response_carries_the_headers(client):
    raw = client.chat.completions.with_raw_response.create(
        model="auto", messages=QUESTION, max_tokens=4, stream=True
    )
    assert raw.headers["x-pointsman-expert"] in EXPERTS
    assert raw.headers["x-pointsman-router"].startswith("default@")
    assert float(raw.headers["x-pointsman-decision-ms"]) > 0
    assert raw.headers["x-request-id"]
    list(raw.parse())


def test_completions_and_their_stream(client, model):
    answer = client.completions.create(model=model, prompt="The capital of France is", max_tokens=8)
    assert answer.choices[0].text
    stream = client.completions.create(model=model, prompt="One, two,", max_tokens=8, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream)


def test_stop_ends_the_answer(client):
    kwargs = {"model": EXPERTS[0], "messages": QUESTION, "max_tokens": 24, "temperature": 0}
    whole = client.chat.completions.create(**kwargs).choices[0].message.content
    word = whole.split()[-1]
    cut = client.chat.completions.create(**kwargs, stop=[word]).choices[0]
    assert cut.finish_reason == "stop"
    assert word not in cut.message.content


def test_n_gives_n_answers(client, model):
    answer = client.chat.completions.create(model=model, messages=QUESTION, n=2, max_tokens=8)
    assert len(answer.choices) == 2


def test_logprobs(client, model):
    answer = client.chat.completions.create(
        model=model, messages=QUESTION, max_tokens=4, logprobs=True, top_logprobs=2
    )
    tokens = answer.choices[0].logprobs.content
    assert tokens
    assert all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in tokens)


def test_the_same_seed_gives_the_same_answer(client):
    def sample(seed):
        answer = client.chat.completions.create(
            model=EXPERTS[0],
            messages=[{"role": "user", "content": "Write one sentence about the sea."}],
            max_tokens=24,
            temperature=1.0,
            seed=seed,
        )
        return answer.choices[0].message.content

    assert sample(7) == sample(7)
    assert len({sample(seed) for seed in range(4)}) > 1


def test_tools_are_passed_through(client, model):
    tool = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
    answer = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "What is the weather in Paris?"}],
        tools=[tool],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        max_tokens=64,
    )
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "weather"
    assert set(json.loads(call.function.arguments)) == {"city"}


def test_tools_without_a_choice_are_passed_through(client, model):
    tool = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
    answer = client.chat.completions.create(
        model=model, messages=QUESTION, tools=[tool], max_tokens=8
    )
    assert answer.choices[0].message is not None


def test_response_format_is_passed_through(client, model):
    answer = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "Name a city."}],
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}},
        max_tokens=64,
    )
    assert set(json.loads(answer.choices[0].message.content)) == {"city"}


def test_content_parts_and_tool_results_are_read(client, model):
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is the weather in Paris?"}]},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "id": "call1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call1", "content": "Rain, 12 degrees."},
        {"role": "user", "content": "So do I need an umbrella?"},
    ]
    answer = client.chat.completions.create(model=model, messages=messages, max_tokens=16)
    assert answer.choices[0].message.content is not None
