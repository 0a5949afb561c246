"""Who answers the next turn, with real engines."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import EXPERTS

CHAT = "/v1/chat/completions"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Vienna", "Graz"]}},
            "required": ["city"],
        },
    },
}


def ask(application, messages, **fields):
    body = {"model": "auto", "messages": messages, "max_tokens": 160} | fields
    status, answer, headers = application.post(CHAT, body)
    return status, answer, headers.get("x-pointsman-expert")


@pytest.mark.parametrize("expert", EXPERTS)
def test_a_tool_loop_stays_with_who_called(application, expert):
    (other,) = set(EXPERTS) - {expert}
    question = [{"role": "user", "content": "What is the weather in Vienna?"}]
    called = {"tools": [WEATHER], "tool_choice": "required"}
    status, answer, by = ask(application, question, routing={"allow": [expert]}, **called)
    assert status == 200 and by == expert, answer
    message = answer["choices"][0]["message"]
    (call,) = message["tool_calls"][:1]
    assert "_pm" in call["id"]
    loop = [
        *question,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "sunny"},
    ]
    for wish in ({}, {"tradeoff": 0.0}, {"tradeoff": 1.0}):
        status, answer, by = ask(application, loop, routing=wish)
        assert status == 200 and by == expert, answer
    status, answer, _ = ask(application, loop, routing={"deny": [expert]})
    assert status == 400 and expert in answer["error"]["message"]
    assert ask(application, question, routing={"deny": [expert]})[2] == other


def test_a_conversation_stays_where_a_change_does_not_pay(application):
    """Its expert is remembered, and the decision says what reading it anew would cost."""
    for expert in EXPERTS:
        first = [{"role": "user", "content": f"Tell me about the river {expert}."}]
        _, answer, by = ask(application, first, routing={"allow": [expert]})
        assert by == expert
        said = {"role": "assistant", "content": answer["choices"][0]["message"]["content"]}
        then = [*first, said, {"role": "user", "content": "And how long is it?"}]
        _, answer, _ = ask(application, then, routing={"explain": True})
        rows = {row["id"]: row for row in answer["routing"]["experts"]}
        assert rows[expert]["switch_usd"] == 0
        assert all(row["switch_usd"] > 0 for name, row in rows.items() if name != expert)
