"""Who may be asked, or what a request is told where nobody may."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from serve.errors import (
    ExpertUnavailable,
    InvalidRequest,
    Overloaded,
    RequestError,
    UnknownModel,
)
from serve.online.access import Access
from serve.online.reading import Read
from serve.protocol import AUTO, Candidate, Decision, Expert
from serve.routing.bars import bar_of_named, told


def open_candidates(decision: Decision, body: Any, cooldown_s: float) -> tuple[Candidate, ...]:
    """The candidates that may be asked.

    Args:
        decision: the router's.
        body: the client's, for the names of its fields.
        cooldown_s: until an expert that is down is probed.

    Raises:
        RequestError: none may; which one says what would have to change.
    """
    if decision.open:
        return decision.open
    bars = [(c.expert, c.bar) for c in decision.candidates if c.bar is not None]
    passing = [c for c in decision.candidates if c.bar and c.bar.cause != "request"]
    line = f"No expert can answer this: {told(bars)}"
    if not passing:
        params = [bar.param for _, bar in bars if bar.param]
        raise InvalidRequest(line, param=_field(params[0], body), code="no_candidate")
    error: RequestError
    causes = {c.bar.cause for c in passing if c.bar}
    if causes == {"down"}:
        error = ExpertUnavailable(line)
        error.retry_after_s = cooldown_s
    elif causes <= {"down", "asleep"}:
        error = ExpertUnavailable(line, code="expert_asleep")
        error.retry_after_s = math.ceil(min(c.wake_s for c in passing if c.wake_s > 0))
    else:
        error = Overloaded(line)
        error.retry_after_s = max(1, math.ceil(min(c.seconds for c in passing)))
    raise error


def asleep_and_late(decision: Decision) -> list[str]:
    """Experts that were candidates, could the request wait until they are awake."""
    return [c.expert for c in decision.candidates if c.bar and c.bar.cause == "asleep"]


def named_expert(read: Read, experts: Mapping[str, Expert], door: Access) -> str:
    """The expert that the client asks for.

    Raises:
        UnknownModel: there is none.
        Forbidden: its key may not.
        InvalidRequest: it may not have this request.
    """
    expert = experts.get(read.model or "")
    if expert is None:
        names = ", ".join([AUTO, *experts])
        raise UnknownModel(
            f"The model {read.model!r} does not exist. Models: {names}", param="model"
        )
    door.require_expert(read.caller, expert.id)
    bar = bar_of_named(read.query, expert)
    if bar is not None:
        raise InvalidRequest(f"{expert.id} {bar.reason}", param=bar.param)
    return expert.id


def _field(param: str, body: Any) -> str:
    """The same field by the name that this body has for it."""
    if param == "max_tokens" and getattr(body, "max_completion_tokens", None) is not None:
        return "max_completion_tokens"
    if param == "messages" and not hasattr(body, "messages"):
        return "input" if hasattr(body, "input") else "prompt"  # a response may have both
    return param
