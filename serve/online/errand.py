"""A request on its way to an expert, and the answer that has begun."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from serve.online.apis.base import Api
from serve.online.fleet import Lease
from serve.online.tracing import UNTRACED, Trace
from serve.online.upstreams.base import Item


@dataclass(frozen=True)
class Errand:
    """One request, before any expert has it.

    Attributes:
        api: its endpoint.
        body: the client's.
        request: the client's, for its headers.
        deadline: of the event loop's clock.
        session: x-session-id, or None.
        share: of every queue that it may fill, 0..1.
        priority: for an engine that schedules by it; lower is sooner.
        trace: told whom it asks.
    """

    api: Api
    body: Any
    request: Request
    deadline: float
    session: str | None = None
    share: float = 1.0
    priority: int = 0
    trace: Trace = UNTRACED


@dataclass
class Opened:
    """An answer that has begun.

    Attributes:
        expert: who gives it.
        items: what is here of it.
        rest: what is not.
        lease: of that expert.
        tried: those that failed before, and why.
    """

    expert: str
    items: list[Item]
    rest: AsyncGenerator[Item, None]
    lease: Lease
    tried: list[tuple[str, str]] = field(default_factory=list)
