"""What a change of the pool does to the guard.

The guard is not calibrated again, since its held-out prompts are gone: its bounds are moved by what
the change did on the probes.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np

from serve.offline.guard import lower_bound
from serve.offline.metrics import Picks, earned, picks_at
from serve.offline.pool.pool import Pool
from serve.protocol import Doubles
from serve.routing.guard import Guard

CONFIDENCE = 0.5
"""Of the change alone: its best estimate. At 0.95 two hundred probes can hardly ever vouch for an
expert that is much picked, and the constants that then serve cost more Area than they save
(README, "A new expert"); the margin that the old bound has is kept either way."""


def extended(before: Pool, after: Pool, confidence: float = CONFIDENCE) -> Guard:
    """The guard of `after`, whose bounds are those of `before` moved by the change.

    At each lambda the old bound says what the old picks earn above the old constant's, at least.
    The new picks earn above the new constant's that much and

        (new picks' - old picks' utility) - (new constant's - old constant's utility),

    whose mean has a lower bound of its own from the probes, each prompt compared with itself. The
    sum of two bounds at one confidence above a half is a bound at that confidence or more: the
    standard error of a sum is at most the sum of the two, however they go together. (Without
    normality the union bound is left: at 95 % each, 90 % for both.) An expert that is hardly ever
    picked hardly moves the bound.

    Args:
        before: the pool as it was, on the probes that the change is measured on.
        after: the changed one, its guard's columns in place, on the same.
        confidence: of the change's bound, one-sided; 0.5 is its mean.
    """
    guard, old, new = after.guard, _Picked(before), _Picked(after)
    lower, cost = guard.lower.copy(), guard.cost.copy()
    for i, value in enumerate(guard.lam.astype(np.float64)):
        change = new.advantage(value) - old.advantage(value)
        lower[i] += lower_bound(change, confidence)
        cost[i] = max(cost[i] + new.spent(value) - old.spent(value), 0)
    return replace(guard, lower=lower, cost=cost, confidence=min(guard.confidence, confidence))


def certainty(before: Pool, after: Pool, lam: float) -> float:
    """The highest confidence at which the router would still decide at that lambda, 0..1.

    Args:
        before: as of extended().
        after: as of extended().
        lam: quality that one dollar is worth.
    """
    grid, old, new = before.guard.lam, _Picked(before), _Picked(after)
    # Between two lambdas of the grid as Guard.trusts reads it, so that both always agree.
    change = np.stack([new.advantage(float(v)) - old.advantage(float(v)) for v in grid])
    errors = change.std(axis=1, ddof=1) / np.sqrt(change.shape[1])
    least = float(np.interp(lam, grid, before.guard.lower + change.mean(axis=1)))
    error = float(np.interp(lam, grid, errors))
    return NormalDist().cdf(least / error) if error > 0 else float(least > 0)


class _Picked:
    """What a pool's picks and its constant's earn on its probes, the guard left out."""

    def __init__(self, pool: Pool) -> None:
        self._guard = pool.guard
        self._predicted = pool.probes.held_out.quality.astype(np.float64)
        self._expected, self._quality = pool.expected, pool.quality
        self._cost = pool.probes.costs.measured

    def advantage(self, lam: float) -> Doubles:
        """(n,) utility of the picks less that of the constant."""
        utility = self._quality - lam * self._cost
        return earned(self._picks(lam), utility) - utility[:, self._guard.constant(lam)]

    def spent(self, lam: float) -> float:
        """Mean dollars of the picks."""
        return float(earned(self._picks(lam), self._cost).mean())

    def _picks(self, lam: float) -> Picks:
        return picks_at(self._predicted, self._expected, lam)
