from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.serve.llm.openai_api_models import ChatCompletionRequest

from serve.online.conversation import Memory, mark_calls, unmark_calls

USER = {"role": "user", "content": "What is the weather in Vienna?"}
SAID = {"role": "assistant", "content": "Sunny."}
THEN = {"role": "user", "content": "And tomorrow?"}


def called(call_id):
    call = {"id": call_id, "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    return [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call_id, "content": "sunny"},
    ]


def answer(call_id):
    return {"id": "chatcmpl-1", "choices": [{"message": called(call_id)[0]}]}


def test_a_first_turn_is_with_nobody():
    read = Memory(["a", "b"]).read([USER], None)
    assert (read.previous, read.bound_to, read.previous_text, read.prefix_tokens) == (
        None,
        None,
        None,
        0,
    )


def test_this_replica_remembers_who_answered():
    memory = Memory(["a", "b"])
    memory.answered(memory.read([USER], None).key, None, "b")
    read = memory.read([USER, SAID, THEN], None)
    assert (read.previous, read.bound_to, read.previous_text) == ("b", None, None)
    assert read.prefix_tokens >= 8


def test_another_replica_decides_the_turn_before_again():
    read = Memory(["a", "b"]).read([USER, SAID, THEN], None)
    assert read.previous is None
    assert read.previous_text == USER["content"]


def test_a_session_is_remembered_where_the_conversation_is_not():
    memory = Memory(["a", "b"])
    memory.answered(memory.read([USER], "s").key, "s", "a")
    cut = [{"role": "user", "content": "(cut short)"}, SAID, THEN]
    assert memory.read(cut, "s").previous == "a"
    assert memory.read(cut, "t").previous is None


def test_a_tool_loop_is_bound_to_who_called_on_any_replica():
    said = answer("call_1")
    mark_calls(said, "b")
    marked = said["choices"][0]["message"]["tool_calls"][0]["id"]
    assert marked.startswith("call_1_pm") and said["id"] == "chatcmpl-1"
    read = Memory(["a", "b"]).read([USER, *called(marked)], None)
    assert (read.bound_to, read.previous) == ("b", "b")


def test_the_engine_gets_its_own_ids_back():
    said = answer("call_1")
    mark_calls(said, "b")
    marked = said["choices"][0]["message"]["tool_calls"][0]["id"]
    body = ChatCompletionRequest(messages=[USER, *called(marked)])
    unmark_calls(body)
    assert next(iter(body.messages[1]["tool_calls"]))["id"] == "call_1"
    assert body.messages[2]["tool_call_id"] == "call_1"


@pytest.mark.parametrize(
    "event",
    [
        {"type": "content_block_start", "content_block": {"type": "tool_use", "id": "t1"}},
        {"item": {"type": "function_call", "id": "fc_1", "call_id": "t1"}},
    ],
)
def test_the_other_endpoints_calls_are_marked_too(event):
    mark_calls(event, "a")
    assert "t1_pm" in json.dumps(event) and "fc_1_pm" not in json.dumps(event)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["id", "a", "function"]), inner)
    ),
    max_leaves=20,
)


@given(json_values, st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1))
def test_marks_go_on_once_and_come_off_whole(value, expert):
    marked = copy.deepcopy(value)
    mark_calls(marked, expert)
    twice = copy.deepcopy(marked)
    mark_calls(twice, expert)
    assert twice == marked
    plain = copy.deepcopy(value)
    unmark_calls(plain)
    unmark_calls(marked)
    assert marked == plain
