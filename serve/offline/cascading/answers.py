"""A cascade replayed on a routing table: pure functions of arrays.

Throughout N prompts and T tiers, cheap to dear. An answer whose signal is at or above its tier's
threshold is accepted, as in routing/cascade.py, and every tier that was asked is paid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from serve.offline.fit.data import Rows
from serve.offline.metrics import Picks, earned
from serve.protocol import Doubles

GRID = 10_000
"""Combinations of thresholds that are tried at most; two tiers need far fewer."""

FINEST = 201
"""Thresholds that are tried for one tier: every half per cent of its answers."""


@dataclass(frozen=True)
class Answers:
    """What every tier did with every prompt.

    Attributes:
        quality: (N, T), 0..1, complete.
        cost: (N, T), US dollars of each answer alone.
        signal: (N, T - 1), -inf where a tier's certainty is not known.
        pays_all: every tier that was asked is paid; False: only the one that answers, where the
            signal is known before anything is asked.
    """

    quality: Doubles
    cost: Doubles
    signal: Doubles
    pays_all: bool = True

    def rows(self, chosen: Rows) -> Answers:
        """Some of the prompts."""
        return replace(
            self,
            quality=self.quality[chosen],
            cost=self.cost[chosen],
            signal=self.signal[chosen],
        )

    @property
    def paid(self) -> Doubles:
        """(N, T) dollars where that tier's answer is the one accepted."""
        return np.cumsum(self.cost, axis=1) if self.pays_all else self.cost


@dataclass(frozen=True)
class Outcome:
    """A cascade at given thresholds.

    Attributes:
        tier: (N,) position of the tier whose answer was accepted.
        quality: (N,) of that answer.
        cost: (N,) dollars of all that was asked.
    """

    tier: Picks
    quality: Doubles
    cost: Doubles

    @property
    def escalated(self) -> float:
        """Share of the prompts that the first tier did not keep."""
        return float((self.tier > 0).mean())


def run(answers: Answers, thresholds: tuple[float, ...]) -> Outcome:
    """Every prompt's way through the tiers."""
    kept = np.isfinite(answers.signal) & (answers.signal >= np.array(thresholds))
    tier = np.column_stack([kept, np.ones(len(kept), dtype=bool)]).argmax(axis=1)
    return Outcome(tier, earned(tier, answers.quality), earned(tier, answers.paid))


def threshold_at(signal: Doubles, share: float) -> float:
    """The threshold that rejects at most that share of answers: the p-quantile of arXiv 2405.02134.

    It is finite. At 1 it lies above every answer's signal; an answer of unknown certainty is
    rejected at any share.

    Args:
        signal: (n,) of answers.
        share: 0..1.
    """
    known = np.sort(signal[np.isfinite(signal)])
    if len(known) == 0:
        return 0.0
    unknown = len(signal) - len(known)
    at = max(0, int(len(signal) * share + 1e-9) - unknown)
    return float(known[at]) if at < len(known) else float(known[-1] + 1)


def thresholds_at(answers: Answers, share: float) -> tuple[float, ...]:
    """Every tier passes on at most that share of the answers that it gives."""
    thresholds: list[float] = []
    asked = np.ones(len(answers.signal), dtype=bool)
    for signal in answers.signal.T:
        thresholds.append(threshold_at(signal[asked], share))
        asked = asked & ~(np.isfinite(signal) & (signal >= thresholds[-1]))
    return tuple(thresholds)


@dataclass(frozen=True)
class Sweep:
    """Thresholds that were tried, with what they brought.

    Attributes:
        thresholds: C combinations.
        quality: (C,) mean.
        cost: (C,) mean dollars.
    """

    thresholds: list[tuple[float, ...]]
    quality: Doubles
    cost: Doubles

    def within(self, usd: float) -> int | None:
        """The best quality for no more than so many dollars an answer; None: none is that cheap."""
        return self._best(self.cost <= usd * (1 + 1e-9), self.quality, -self.cost)

    def reaching(self, quality: float) -> int | None:
        """The least cost with at least that quality; None: none reaches it."""
        return self._best(self.quality >= quality - 1e-12, -self.cost, self.quality)

    def _best(self, allowed: NDArray[np.bool_], first: Doubles, then: Doubles) -> int | None:
        rows = np.flatnonzero(allowed)
        return int(rows[np.lexsort((then[rows], first[rows]))[-1]]) if len(rows) else None


def sweep(answers: Answers) -> Sweep:
    """Thresholds at evenly spread quantiles of each tier's signal, in all combinations."""
    gates = answers.signal.shape[1]
    points = min(FINEST, int(GRID ** (1 / gates)))
    tried = list(product(*(_quantiles(signal, points) for signal in answers.signal.T)))
    outcomes = [run(answers, thresholds) for thresholds in tried]
    return Sweep(
        tried,
        np.array([outcome.quality.mean() for outcome in outcomes]),
        np.array([outcome.cost.mean() for outcome in outcomes]),
    )


def _quantiles(signal: Doubles, points: int) -> Iterator[float]:
    yield from dict.fromkeys(threshold_at(signal, s) for s in np.linspace(0, 1, points))


def auroc(signal: Doubles, quality: Doubles) -> float | None:
    """How often a right answer has the higher signal than a wrong one; .5 says nothing.

    Graded answers count as right above their median. None where all are right, or none is.

    Args:
        signal: (N,), -inf where not known.
        quality: (N,), 0..1.
    """
    graded = not np.isin(quality, (0.0, 1.0)).all()
    right = quality > np.median(quality) if graded else quality > 0
    if right.all() or not right.any():
        return None
    return float(roc_auc_score(right, rankdata(signal)))
