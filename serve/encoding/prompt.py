"""What the router reads of a request: one function for training and serving alike.

Choice: the messages in their order, the last user message at the end. The encoder reads both ends
of a long text, so the system message and the question in hand survive and the turns between go.
Of a message only its text is read: text parts, and the names of called tools; images and tool
arguments are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serve.protocol import Query

RECIPE = "last-user-last/1"
"""Part of an encoder's name: an artifact trained on another recipe is refused."""

CHARACTERS_PER_TOKEN = 4
"""The usual rule of thumb for English; prices need an estimate, not a count."""


def chat_query(messages: Sequence[Mapping[str, Any]], max_output_tokens: int | None) -> Query:
    """OpenAI chat messages -> Query."""
    texts = [_message_text(message) for message in messages]
    users = [i for i, message in enumerate(messages) if message.get("role") == "user"]
    last = texts.pop(users[-1] if users else -1)
    return _query("\n".join(text for text in [*texts, last] if text), max_output_tokens)


def completion_query(prompt: str, max_output_tokens: int | None) -> Query:
    """A plain prompt -> Query."""
    return _query(prompt, max_output_tokens)


def _query(text: str, max_output_tokens: int | None) -> Query:
    return Query(text, max(1, len(text) // CHARACTERS_PER_TOKEN), max_output_tokens)


def _message_text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    parts = [content] if isinstance(content, str) else _texts(content, "text")
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        parts += _texts([c.get("function") for c in calls if isinstance(c, Mapping)], "name")
    return "\n".join(parts)


def _texts(items: object, key: str) -> list[str]:
    """The strings under `key` of those items that have one: /v1/route takes any JSON."""
    if not isinstance(items, list):
        return []
    found = [item.get(key) for item in items if isinstance(item, Mapping)]
    return [text for text in found if isinstance(text, str)]
