"""A cascade: a cheap expert answers first, and its certainty decides whether the next is asked.

Two-tier selection by uncertainty (Ramirez et al., arXiv 2405.02134) and "Confident or Seek
Stronger" (arXiv 2502.04428), for any number of tiers. Knows nothing of the request path: signals.py
reads the certainty, and whoever dispatches asks this what to do with it.

    decides_on   prompt        predicted_quality: known before an expert is asked, so a tier that
                               would not be accepted is never asked and costs nothing
                 first_token   margin: a stream can be released, or closed, at its first token
                 answer        mean_logprob, min_logprob: nothing may be sent before the end
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from serve.routing.signals import UNCERTAIN, AnswerSignal, Token, certainty, tokens_of

Signal: TypeAlias = Literal[AnswerSignal, "predicted_quality"]
Moment: TypeAlias = Literal["prompt", "first_token", "answer"]

TOP_LOGPROBS = 5
"""Alternatives asked for with each token where the signal is the margin. Ten in the paper; few
endpoints give so many, and what is calibrated on five must be served with five."""

_MOMENTS: dict[str, Moment] = {"predicted_quality": "prompt", "margin": "first_token"}


def decides_on(signal: Signal) -> Moment:
    """What must be there before the signal is known."""
    return _MOMENTS.get(signal, "answer")


def needs_whole(signal: Signal) -> bool:
    """Whether nothing of an answer may be sent before its last token."""
    return decides_on(signal) == "answer"


def top_logprobs(signal: Signal) -> int | None:
    """How many alternatives to ask for with each token; None: no log-probabilities are needed."""
    return {"margin": TOP_LOGPROBS, "predicted_quality": None}.get(signal, 0)


@dataclass(frozen=True)
class Cascade:
    """What is asked next.

    Attributes:
        tiers: T expert ids, cheap to dear.
        signal: of certainty, see above.
        thresholds: (T - 1,) an answer whose signal is at or above its tier's is accepted.
        holds: streaming clients get nothing before the decision; False: they get the first tier's
            answer at once, and it is never replaced.
    """

    tiers: tuple[str, ...]
    signal: Signal
    thresholds: tuple[float, ...]
    holds: bool = True

    def accepts(self, tier: int, value: float) -> bool:
        """Whether an answer of that tier is kept; the last tier's always is.

        Args:
            tier: its position.
            value: of the signal. What is not known (-inf, NaN) is never certain.
        """
        if tier >= len(self.thresholds):
            return True
        return math.isfinite(value) and value >= self.thresholds[tier]

    def next_tier(self, tier: int, value: float) -> int | None:
        """The position of the tier to ask after this one; None: its answer is accepted."""
        return None if self.accepts(tier, value) else tier + 1

    def applies(self, *, stream: bool) -> bool:
        """Whether another tier may be asked for such a request at all; else the first answers."""
        return self.holds or not stream

    def first_tier(self, quality: Mapping[str, float]) -> int:
        """The position of the tier to begin with.

        Args:
            quality: predicted, by expert id; read where the decision falls on the prompt alone.
        """
        if decides_on(self.signal) != "prompt":
            return 0
        values = [quality.get(name, UNCERTAIN) for name in self.tiers]
        return next(tier for tier, value in enumerate(values) if self.accepts(tier, value))

    def asking(self, body: Mapping[str, Any], *, chat: bool) -> dict[str, Any]:
        """A request's body with the log-probabilities that the signal needs; at least as many as
        the client asked for.

        Args:
            body: of OpenAI's chat or completions form.
            chat: which of the two.
        """
        wanted = top_logprobs(self.signal)
        if wanted is None:
            return dict(body)
        if chat:
            theirs = body.get("top_logprobs") or 0
            return {**body, "logprobs": True, "top_logprobs": max(wanted, theirs)}
        return {**body, "logprobs": max(wanted, body.get("logprobs") or 0)}

    def for_client(
        self, logprobs: object, body: Mapping[str, Any], *, chat: bool
    ) -> dict[str, Any] | None:
        """`choices[i].logprobs` of an answer to `asking(body)`, as the client's own body had it.

        Args:
            logprobs: of an answer or of a chunk.
            body: the client's, before asking().
            chat: which form both have.
        """
        wanted = (body.get("top_logprobs") or 0) if chat else body.get("logprobs")
        asked = bool(body.get("logprobs")) if chat else wanted is not None
        if not (asked and isinstance(logprobs, Mapping)):
            return None
        if chat:
            content = [
                {**token, "top_logprobs": list(token.get("top_logprobs") or ())[:wanted]}
                for token in logprobs.get("content") or ()
            ]
            return {**logprobs, "content": content}
        tokens, tops = logprobs.get("tokens") or (), logprobs.get("top_logprobs") or ()
        trimmed = [_likeliest(top, wanted, token) for top, token in zip(tops, tokens, strict=False)]
        return {**logprobs, "top_logprobs": trimmed}

    def watch(self, tier: int) -> Watch:
        """Follows one answer of that tier."""
        return Watch(self, tier)


def _likeliest(
    top: Mapping[str, float] | None, wanted: int | None, token: str
) -> dict[str, float] | None:
    """So many of the alternatives, and the token itself, as the completions form has it."""
    if top is None:
        return None
    ranked = sorted(top, key=lambda text: -top[text])
    return {text: top[text] for text in ranked if text in ranked[:wanted] or text == token}


class Watch:
    """One answer as it comes, whole or in chunks: says whether it is accepted as soon as it can.

    Args:
        cascade: whose thresholds count.
        tier: position of the expert that answers.
    """

    def __init__(self, cascade: Cascade, tier: int) -> None:
        self._cascade, self._tier = cascade, tier
        self._tokens: list[Token] = []

    def see(self, logprobs: object) -> None:
        """Take in `choices[0].logprobs` of an answer or of a chunk, in order; None is nothing."""
        self._tokens += tokens_of(logprobs)

    @property
    def value(self) -> float:
        """The signal of what was seen so far; -inf before the first token."""
        if self._cascade.signal == "predicted_quality":
            return UNCERTAIN
        return certainty(self._cascade.signal, self._tokens)

    def verdict(self, *, ended: bool) -> bool | None:
        """Accepted, not accepted, or None: not known yet.

        Args:
            ended: the answer is complete.
        """
        if self._tier >= len(self._cascade.thresholds):
            return True
        moment = decides_on(self._cascade.signal)
        if moment == "prompt":
            return True  # it would not have been asked otherwise
        if ended or (moment == "first_token" and self._tokens):
            return self._cascade.accepts(self._tier, self.value)
        return None
