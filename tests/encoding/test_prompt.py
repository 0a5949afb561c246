from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serve.encoding.prompt import chat_query, completion_query

CHAT = [
    {"role": "system", "content": "Answer in French."},
    {"role": "user", "content": "What is the capital of Peru?"},
    {"role": "assistant", "content": "Lima."},
    {"role": "user", "content": "And its river?"},
]


def test_messages_keep_their_order_and_the_last_user_message_ends_the_text():
    expected = "Answer in French.\nWhat is the capital of Peru?\nLima.\nAnd its river?"
    assert chat_query(CHAT, None).text == expected


def test_a_chat_of_one_message_reads_as_that_prompt():
    one = chat_query([{"role": "user", "content": "Hello"}], 7)
    assert one == completion_query("Hello", 7)


def test_earlier_turns_change_what_is_read():
    assert chat_query(CHAT, None).text != chat_query(CHAT[-1:], None).text


def test_text_parts_are_read_and_images_are_not():
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {}}]
    assert chat_query([{"role": "user", "content": content}], None).text == "What is this?"


def test_tool_calls_are_read_by_name_and_their_results_by_text():
    messages = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "weather"}}]},
        {"role": "tool", "content": "Rain."},
    ]
    assert chat_query(messages, None).text == "weather\nRain.\nWeather?"


roles = st.sampled_from(["system", "user", "assistant", "tool"])
contents = st.one_of(st.none(), st.text(), st.lists(st.fixed_dictionaries({"text": st.text()})))
messages = st.fixed_dictionaries({"role": roles, "content": contents})


@given(st.lists(messages, min_size=1, max_size=8))
def test_every_text_of_any_chat_is_in_the_query(chat):
    query = chat_query(chat, None)
    assert query.input_tokens >= 1
    for message in chat:
        if isinstance(message["content"], str):
            assert message["content"] in query.text
