"""What the router reads of a request: one function for training and serving alike.

Choice: the last user message first, then the other messages from the newest to the oldest, the
system message among them. The encoder reads the first 256 tokens, so a long chat loses its oldest
turns first and the question in hand never. Of a message only its text is read: text parts, and the
names of called tools; images and tool arguments are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from serve.protocol import Query

RECIPE = "last-user-first/1"
"""Part of an encoder's name: an artifact trained on another recipe is refused."""

CHARACTERS_PER_TOKEN = 4
"""The usual rule of thumb for English; prices need an estimate, not a count."""


def chat_query(messages: Sequence[Mapping[str, Any]], max_output_tokens: int | None) -> Query:
    """OpenAI chat messages -> Query."""
    texts = [_message_text(message) for message in messages]
    last = max((i for i, m in enumerate(messages) if m.get("role") == "user"), default=-1)
    ordered = [texts[last]] + [
        text for i, text in reversed(list(enumerate(texts))) if i != last % len(texts)
    ]
    return _query("\n".join(text for text in ordered if text), max_output_tokens)


def completion_query(prompt: str, max_output_tokens: int | None) -> Query:
    """A plain prompt -> Query."""
    return _query(prompt, max_output_tokens)


def _query(text: str, max_output_tokens: int | None) -> Query:
    return Query(text, max(1, len(text) // CHARACTERS_PER_TOKEN), max_output_tokens)


def _message_text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    parts = [content] if isinstance(content, str) else list(_part_texts(content or ()))
    parts += [call["function"]["name"] for call in message.get("tool_calls") or ()]
    return "\n".join(parts)


def _part_texts(content: Iterable[Any]) -> Iterable[str]:
    for part in content:
        if isinstance(part, str):
            yield part
        elif isinstance(part, Mapping) and isinstance(part.get("text"), str):
            yield part["text"]
