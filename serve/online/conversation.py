"""Which expert a conversation is with, so that it changes only where that is worth it.

Ingress replicas share no memory. Three things tell, the surest first:

    a tool call's id   carries its expert's mark out and brings it back with the tool's result
    this replica       remembers who answered a conversation, or a session (x-session-id)
    the router         decides again on the turn before, as it did then (routing/pipeline.py)
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache
from pydantic import BaseModel

from serve.encoding.prompt import chat_query

_REMEMBERED = 20_000
_MARK = re.compile(r"_pm([0-9a-f]{6})$")
_IDS = ("id", "call_id", "tool_call_id", "tool_use_id")


@dataclass(frozen=True)
class Conversation:
    """What the messages of one request say of who is talking.

    Attributes:
        key: under which the next turn will look up who answered this one.
        bound_to: see protocol.Query.
        previous: see protocol.Query.
        previous_text: see protocol.Query.
        prefix_tokens: see protocol.Query.
    """

    key: bytes
    bound_to: str | None = None
    previous: str | None = None
    previous_text: str | None = None
    prefix_tokens: int = 0


class Memory:
    """Who answered the last conversations of this replica; only hashes of them are kept.

    Args:
        experts: ids of the pool.
    """

    def __init__(self, experts: Sequence[str]) -> None:
        self._by_mark = {mark(expert): expert for expert in experts}
        self._last: LRUCache[bytes, str] = LRUCache(_REMEMBERED)

    def read(self, turns: Sequence[Mapping[str, Any]], session: str | None) -> Conversation:
        """What is known of a conversation.

        Args:
            turns: in OpenAI's form, oldest first.
            session: x-session-id, or None.
        """
        key = _digest(turns)
        if not turns:
            return Conversation(key)
        answers = [i for i, turn in enumerate(turns) if turn.get("role") == "assistant"]
        if not answers:
            return Conversation(key)
        before = turns[: answers[-1]]
        marked = self._marked(turns[answers[-1] :])
        known = marked or self._last.get(_digest(before)) or self._of_session(session)
        return Conversation(
            key,
            bound_to=known if turns[-1].get("role") == "tool" else None,
            previous=known,
            previous_text=chat_query(before, None).text if before and known is None else None,
            prefix_tokens=chat_query(turns[: answers[-1] + 1], None).input_tokens,
        )

    def answered(self, key: bytes, session: str | None, expert: str) -> None:
        """Remember who answers."""
        self._last[key] = expert
        if session is not None:
            self._last[_session_key(session)] = expert

    def _of_session(self, session: str | None) -> str | None:
        return None if session is None else self._last.get(_session_key(session))

    def _marked(self, turns: Sequence[Mapping[str, Any]]) -> str | None:
        for holder, name in _ids(list(turns)):
            found = _MARK.search(holder[name])
            if found and found[1] in self._by_mark:
                return self._by_mark[found[1]]
        return None


def mark(expert: str) -> str:
    """Six hex digits that stand for an expert."""
    return hashlib.blake2b(expert.encode(), digest_size=3).hexdigest()


def mark_calls(answer: Any, expert: str) -> None:
    """Put the expert's mark on the ids of the tool calls in an answer or an event."""
    for holder, name in _ids(answer):
        called = name != "id" or "function" in holder or holder.get("type") == "tool_use"
        if called and holder[name] and not _MARK.search(holder[name]):
            holder[name] = f"{holder[name]}_pm{mark(expert)}"


def unmark_calls(body: Any) -> None:
    """Take the marks off again: some chat templates know the form of their own ids alone."""
    if isinstance(body, BaseModel):
        for name in body.model_fields_set:
            value = getattr(body, name)
            if name in _IDS and isinstance(value, str):
                setattr(body, name, _MARK.sub("", value))
            else:
                unmark_calls(value)
    elif isinstance(body, dict):
        for name, value in body.items():
            if name in _IDS and isinstance(value, str):
                body[name] = _MARK.sub("", value)
            else:
                unmark_calls(value)
    elif isinstance(body, list):
        for item in body:
            unmark_calls(item)


def _ids(found: Any) -> Iterator[tuple[Any, str]]:
    """Every dict in it that has one of the ids, and which."""
    if isinstance(found, list):
        for item in found:
            yield from _ids(item)
    elif isinstance(found, dict):
        for name, value in found.items():
            if name in _IDS and isinstance(value, str):
                yield found, name
            elif isinstance(value, dict | list):
                yield from _ids(value)


def _digest(turns: Sequence[Mapping[str, Any]]) -> bytes:
    told = json.dumps(turns, sort_keys=True, default=str).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(told, digest_size=16).digest()


def _session_key(session: str) -> bytes:
    return hashlib.blake2b(session.encode("utf-8", "surrogatepass"), digest_size=17).digest()
