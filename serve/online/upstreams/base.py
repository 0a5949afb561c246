"""What the dispatcher needs of an expert, wherever it runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from starlette.requests import Request

from serve.online.apis.base import Api

Item: TypeAlias = dict[str, Any] | str
"""A whole answer, or text of one or more server-sent events."""


class ExpertFailed(Exception):
    """An expert did not do its part; another one may.

    Attributes:
        fatal: it cannot answer the next request either: a process has died, nothing listens.
        spoke: its engine is there and said that it failed; the request may be why.
    """

    def __init__(self, reason: str, *, fatal: bool = False, spoke: bool = False) -> None:
        super().__init__(reason)
        self.fatal = fatal
        self.spoke = spoke


@dataclass(frozen=True)
class Call:
    """One request on its way to an expert.

    Attributes:
        api: its endpoint.
        body: addressed to that expert.
        request: the client's, for its headers.
        session: x-session-id, or None.
        trace: W3C trace context of this call, as headers; empty where it is not traced.
    """

    api: Api
    body: Any
    request: Request
    session: str | None
    trace: Mapping[str, str] = field(default_factory=dict)


class Upstream(Protocol):
    """One expert.

    Attributes:
        asleep: it had no replica when last looked at, and a request brings one.
    """

    asleep: bool

    def ask(self, call: Call) -> AsyncGenerator[Item, None]:
        """One dict, or a stream of event texts that ends as call.api says. Closed early, it ends
        the expert's work.

        Raises:
            ExpertFailed: it is the expert's fault.
            RequestError: it is the request's.
        """
        ...

    async def alive(self) -> bool:
        """False where it is known that nobody is there to ask; one that is busy is there."""
        ...

    async def survives(self) -> bool:
        """Whether, one of its processes having died, another is there that can answer."""
        ...

    async def healthy(self) -> bool:
        """Whether it says that it can answer; waits no longer than a probe may."""
        ...
