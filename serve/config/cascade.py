"""Which experts answer one after another, and what keeps an answer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, model_validator

from serve.config.base import Section
from serve.routing.cascade import Cascade, Signal, decides_on


class CascadeSettings(Section):
    """How `auto` requests climb from a cheap expert to dearer ones.

    Of `router`, since it is a policy of the requests that the router decides; an expert asked by
    its own id answers alone.
    """

    tiers: Annotated[list[str], Field(min_length=2)] = Field(
        description="expert ids, cheap to dear: the first answers first"
    )
    signal: Signal = Field(description="of an answer's certainty: routing/signals.py")
    thresholds: list[FiniteFloat] = Field(
        description="one fewer than tiers: an answer at or above its tier's is accepted"
    )
    streaming: Literal["hold", "first"] = Field(
        default="hold",
        description="hold: a streaming client sees nothing until the decision; first: it gets the "
        "first tier's answer at once, which is never replaced",
    )

    @model_validator(mode="after")
    def _fits(self) -> CascadeSettings:
        if len(set(self.tiers)) != len(self.tiers):
            raise ValueError(f"tiers must be distinct, got {self.tiers}")
        if len(self.thresholds) != len(self.tiers) - 1:
            raise ValueError(
                f"thresholds must be one fewer than tiers: {len(self.tiers) - 1}, got "
                f"{len(self.thresholds)}"
            )
        if self.streaming == "first" and decides_on(self.signal) == "prompt":
            raise ValueError(
                f"streaming: first gains nothing with signal {self.signal}, which is known before "
                "an expert is asked; leave it out"
            )
        return self

    def as_cascade(self) -> Cascade:
        """What routing needs to know of it."""
        return Cascade(
            tuple(self.tiers), self.signal, tuple(self.thresholds), self.streaming == "hold"
        )
