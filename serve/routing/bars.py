"""Why an expert may not answer a request: the first reason found, or None.

The request's own terms come first: where they bar every expert, the request must change. Then what
passes: a queue that is full, an answer that would be late, an expert that is down.
"""

from __future__ import annotations

from collections.abc import Sequence

from serve.protocol import Expert, Query
from serve.terms import Abilities, Bar, Needs, Status

_ABILITIES = (
    ("images", "messages", "cannot read images"),
    ("audio", "messages", "cannot hear audio"),
    ("tools", "tools", "cannot call tools"),
    ("structured", "response_format", "keeps to no response_format"),
    ("logprobs", "logprobs", "gives no logprobs"),
)

_LATENCY = "routing.max_latency_s"

_GUESS = 2.0
"""An estimate of the tokens by their letters may be this many times too high."""


def bar_of(
    query: Query,
    expert: Expert,
    input_tokens: float,
    counted: bool,
    cost_usd: float,
    seconds: float,
    status: Status,
) -> Bar | None:
    """The first reason why this expert may not answer; None: it may.

    Args:
        query: the request.
        expert: of the pool.
        input_tokens: of the prompt.
        counted: whether by the expert's own tokenizer; else they are an estimate.
        cost_usd: expected.
        seconds: expected time of the whole answer.
        status: of the expert now.
    """
    floor = input_tokens if counted else input_tokens / _GUESS
    return (
        _wish(query, expert, cost_usd)
        or _place(query.needs, expert)
        or _ability(query.needs, expert.abilities)
        or _context(query, expert.abilities.context, floor)
        or _moment(query, seconds, status)
    )


def bar_of_named(query: Query, expert: Expert) -> Bar | None:
    """Why an expert that the client names may not answer: what it wishes, and privacy."""
    wish = query.wish
    elsewhere = _place(query.needs, expert)
    if elsewhere is not None:
        return elsewhere
    if wish.private and not expert.local:
        return Bar("request", "runs elsewhere, and the request is private", "model")
    if expert.id in wish.deny or (wish.allow is not None and expert.id not in wish.allow):
        return Bar("request", "is not allowed", "model")
    return None


def _wish(query: Query, expert: Expert, cost_usd: float) -> Bar | None:
    wish = query.wish
    if wish.allow is not None and expert.id not in wish.allow:
        return Bar("request", "is not among the allowed ones", "routing.allow")
    if expert.id in wish.deny:
        return Bar("request", "is denied", "routing.deny")
    if wish.private and not expert.local:
        return Bar("request", "runs elsewhere, and the request is private", "routing.private")
    if query.bound_to is not None and query.bound_to != expert.id:
        return Bar("request", f"did not call the tools: {query.bound_to} did", "messages")
    if wish.max_cost_usd is not None and cost_usd > wish.max_cost_usd:
        told = f"is expected to cost {cost_usd:.2g} USD, more than {wish.max_cost_usd:g}"
        return Bar("request", told, "routing.max_cost_usd")
    return None


def _place(needs: Needs, expert: Expert) -> Bar | None:
    if needs.here and not expert.local:
        return Bar("request", "runs elsewhere, and answers chats and completions alone", "model")
    return None


def _ability(needs: Needs, abilities: Abilities) -> Bar | None:
    if not abilities.chat:
        return Bar("request", "does not generate", "model")
    for name, param, lack in _ABILITIES:
        if getattr(needs, name) and not getattr(abilities, name):
            return Bar("request", lack, param)
    return None


def _context(query: Query, context: int | None, input_tokens: float) -> Bar | None:
    if context is None:
        return None
    if input_tokens >= context:
        told = f"has a context of {context} tokens, the prompt alone about {input_tokens:.0f}"
        return Bar("request", told, "messages")
    answer = query.max_output_tokens or 1
    if input_tokens + answer > context:
        told = f"has a context of {context} tokens, the prompt about {input_tokens:.0f} and the "
        return Bar("request", f"{told}answer up to {answer}", "max_tokens")
    return None


def _moment(query: Query, seconds: float, status: Status) -> Bar | None:
    if status.down is not None:
        return Bar("down", status.down)
    if status.fill >= query.share:
        return Bar("full", "has a full queue")
    limit = query.wish.max_latency_s
    if limit is not None and seconds > limit:
        if status.wake_s > 0:
            told = f"sleeps: it is expected to wake in {status.wake_s:.0f} s and to answer in"
            return Bar("asleep", f"{told} {seconds:.1f}, more than {limit:g}", _LATENCY)
        told = f"is expected to take {seconds:.1f} s, more than {limit:g}"
        return Bar("late", told, _LATENCY)
    return None


def told(bars: Sequence[tuple[str, Bar]]) -> str:
    """One line: every expert and what keeps it from answering."""
    return "; ".join(f"{expert} {bar.reason}" for expert, bar in bars)
