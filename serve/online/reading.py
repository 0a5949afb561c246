"""From a body and its headers to what is asked: the query, its wishes, its conversation."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from serve.config import Preference
from serve.errors import InvalidRequest, TooLarge
from serve.online.access import Caller
from serve.online.apis.base import Api
from serve.online.conversation import Conversation, Memory, unmark_calls
from serve.online.telemetry import HEADER_REQUEST
from serve.online.wish import read_wish, take_routing
from serve.protocol import Query
from serve.terms import Wish

_ELSEWHERE = ("chat", "completions")
"""The endpoints that remote experts have too."""


@dataclass(frozen=True)
class Read:
    """A request, read and not yet decided.

    Attributes:
        model: as the body says.
        query: what the router reads.
        conversation: who it is with.
        explain: whether the decision goes into the answer.
        session: x-session-id, or None.
        request_id: x-request-id.
        caller: who asks.
    """

    model: str | None
    query: Query
    conversation: Conversation
    explain: bool
    session: str | None
    request_id: str
    caller: Caller


class Reader:
    """Reads requests.

    Args:
        preferences: of the settings.
        private_tags: of the settings.
        limit: characters of a prompt.
        memory: of conversations.
        shares: priority of a key -> share of the queues that its requests may fill.
    """

    def __init__(
        self,
        preferences: Mapping[str, Preference],
        private_tags: Collection[str],
        limit: int,
        memory: Memory,
        shares: Mapping[int, float],
    ) -> None:
        self._preferences = preferences
        self._private_tags = private_tags
        self._limit = limit
        self._memory = memory
        self._shares = shares

    def read(self, api: Api, body: Any, headers: Mapping[str, str], caller: Caller) -> Read:
        """What a request asks.

        Raises:
            RequestError: it cannot be read, or is too large.
        """
        _require_64_bits(body)
        wish, explain = read_wish(
            body.model, take_routing(body), headers, self._preferences, self._private_tags
        )
        query = api.query(body)
        if len(query.text) > self._limit:
            raise TooLarge(f"The prompt has {len(query.text)} characters, more than {self._limit}")
        session = headers.get("x-session-id")
        conversation = self._memory.read(api.turns(body), session)
        unmark_calls(body)
        query = replace(
            query,
            wish=_allowed(wish, caller),
            needs=replace(api.needs(body), here=api.method not in _ELSEWHERE),
            share=self._shares.get(caller.priority, 1.0),
            bound_to=conversation.bound_to,
            previous=conversation.previous,
            previous_text=conversation.previous_text,
            prefix_tokens=conversation.prefix_tokens,
        )
        request_id = headers[HEADER_REQUEST]
        return Read(body.model, query, conversation, explain, session, request_id, caller)


def queue_shares(priorities: set[int]) -> dict[int, float]:
    """Priority -> share of every queue: each step below the first leaves a tenth more free."""
    ranked = sorted(priorities)
    return {priority: max(0.5, 1 - rank / 10) for rank, priority in enumerate(ranked)}


def _require_64_bits(body: BaseModel) -> None:
    """vLLM cannot send its engine a number of more bits, and finds out too late to refuse it.

    Raises:
        InvalidRequest: a field holds one.
    """
    for name in body.model_fields_set:
        if _is_big(getattr(body, name)):
            raise InvalidRequest(f"{name} holds a number of more than 64 bits", param=name)


def _is_big(value: object) -> bool:
    if isinstance(value, int):
        return not -(2**63) <= value < 2**63
    if isinstance(value, dict):
        return any(_is_big(key) or _is_big(inner) for key, inner in value.items())
    if isinstance(value, list):
        return any(_is_big(inner) for inner in value)
    if isinstance(value, BaseModel):
        return any(_is_big(getattr(value, name)) for name in value.model_fields_set)
    return False


def _allowed(wish: Wish, caller: Caller) -> Wish:
    """The wish within what the key may."""
    allow = wish.allow
    if caller.allow is not None:
        allow = caller.allow if allow is None else allow & caller.allow
    return replace(wish, allow=allow, private=wish.private or caller.private)
