"""Where the time of one decision went."""

from __future__ import annotations

import time
from typing import NamedTuple

OWN = ("queue", "batch_wait")
"""The stages of one query; those of a pass are tokenise, embed, predict and choose."""


class Span(NamedTuple):
    """One stage; time.perf_counter() of its begin and its end."""

    stage: str
    begin: float
    end: float


class Stages:
    """The stages of a pass, or of one query, as they end. A stage may come more than once."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.begin()

    def begin(self) -> None:
        """The first stage begins now."""
        self.began = time.perf_counter()

    def lap(self, stage: str) -> None:
        """This stage has ended now, and began when the one before it ended."""
        self.until(stage, time.perf_counter())

    def until(self, stage: str, end: float) -> None:
        """This stage ended then."""
        begin = self.spans[-1].end if self.spans else self.began
        self.spans.append(Span(stage, begin, max(begin, end)))

    @property
    def seconds(self) -> dict[str, float]:
        """By stage."""
        sums: dict[str, float] = {}
        for stage, begin, end in self.spans:
            sums[stage] = sums.get(stage, 0.0) + end - begin
        return sums
