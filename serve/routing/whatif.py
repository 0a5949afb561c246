"""What would have put another expert first: the least change of one term, all else as it was.

Whatever the objective and the policy, an order changes only where two numbers that they compare
become equal. So between two neighbours of those points nobody overtakes anybody, and one ranking
there says who is first: the answers are exact, by the rule that decided.

Knows nothing of text, vectors or the request path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from math import inf

import numpy as np

from serve.protocol import Doubles
from serve.routing.choice import Policy, Terms, rank
from serve.routing.objective import Budget, CheapestWithin, LinearCost, Objective

_NARROW = 1e-9
"""Points that lie nearer than this, relatively, are one, and rounding keeps them apart."""


@dataclass(frozen=True)
class Change:
    """What would have put one expert first, each by itself.

    Attributes:
        quality: predicted quality above which it is; None: not even at 1.
        cost_usd: expected dollars below which it is; None: not even for nothing.
        seconds: expected time below which it is; None: at none.
        lam: lambdas between which it is, the nearest to the one that was; the second may be
            infinite; None: there are none, or the objective has no lambda.
    """

    quality: float | None = None
    cost_usd: float | None = None
    seconds: float | None = None
    lam: tuple[float, float] | None = None


def least_change(terms: Terms, objective: Objective, policy: Policy, column: int) -> Change:
    """What would have put the expert of a column first, where it may be asked and is not."""
    return Change(
        _quality(terms, objective, policy, column),
        _cost(terms, objective, policy, column),
        _seconds(terms, objective, policy, column) if terms.awake[column] else None,
        _lam(terms, objective, policy, column),
    )


def _quality(terms: Terms, objective: Objective, policy: Policy, column: int) -> float | None:
    utility, _ = rank(terms, objective, policy)
    own = float(terms.quality[column])
    theta = objective.theta if isinstance(objective, CheapestWithin) else 0.0
    handicap = policy.switch_gain * terms.moved
    steps = (0.0, policy.quality_loss, -policy.quality_loss)
    known = terms.quality - handicap + handicap[column]
    marks = [
        own + (utility - utility[column]),
        *(terms.quality + step for step in steps),
        *(known + step for step in (0.0, theta, -theta)),
    ]

    def first(value: float) -> bool:
        quality = _with(terms.quality, column, value)
        return _is_first(replace(terms, quality=quality), objective, policy, column)

    return next((low for low, _ in _stretches(marks, own, 1.0, first)), None)


def _cost(terms: Terms, objective: Objective, policy: Policy, column: int) -> float | None:
    utility, _ = rank(terms, objective, policy)
    own, switch = float(terms.cost[column]), terms.switch[column]
    marks = [terms.cost, terms.cost + terms.switch - switch]
    if objective.lam > 0:
        marks.append(own - (utility - utility[column]) / objective.lam)
    if isinstance(objective, Budget):
        # At the budget, and where what is too much weighs as much as another's lack of quality.
        marks.append(np.append(0.0, -utility) + objective.budget_usd - switch)

    def first(value: float) -> bool:
        cost = _with(terms.cost, column, value)
        return _is_first(replace(terms, cost=cost), objective, policy, column)

    return max((high for _, high in _stretches(marks, 0.0, own, first)), default=None)


def _seconds(terms: Terms, objective: Objective, policy: Policy, column: int) -> float | None:
    utility, _ = rank(terms, objective, policy)
    own = float(terms.seconds[column])
    marks = [terms.seconds]
    if policy.late_s is not None:
        marks.append(np.array([policy.late_s]))
    if objective.mu > 0:
        marks.append(own - (utility - utility[column]) / objective.mu)

    def first(value: float) -> bool:
        seconds = _with(terms.seconds, column, value)
        return _is_first(replace(terms, seconds=seconds), objective, policy, column)

    return max((high for _, high in _stretches(marks, 0.0, own, first)), default=None)


def _lam(
    terms: Terms, objective: Objective, policy: Policy, column: int
) -> tuple[float, float] | None:
    if not isinstance(objective, LinearCost) or terms.fastest:
        return None
    utility, _ = rank(terms, objective, policy)
    dollars = terms.cost + terms.switch
    free = utility + objective.lam * dollars
    marks = [
        np.array([(free[i] - free[j]) / (dollars[i] - dollars[j])])
        for i, j in combinations(range(len(free)), 2)
        if abs(dollars[i] - dollars[j]) > _NARROW * max(dollars[i], dollars[j])
    ]
    last = max((float(mark[0]) for mark in marks), default=0.0)
    beyond = 2 * max(last, objective.lam) + 1  # above every crossing: as at infinity
    most = float(dollars.max())
    unfelt = _NARROW / most if most > 0 else _NARROW  # moves no utility by more than _NARROW

    def first(value: float) -> bool:
        return _is_first(terms, replace(objective, lam=value), policy, column)

    found = _joined(_stretches(marks, 0.0, beyond, first, unfelt), unfelt)
    if not found:
        return None
    lam = objective.lam
    low, high = min(found, key=lambda ends: max(ends[0] - lam, lam - ends[1]))
    return low, inf if high == beyond else high


def _with(values: Doubles, column: int, value: float) -> Doubles:
    changed = values.copy()
    changed[column] = value
    return changed


def _is_first(terms: Terms, objective: Objective, policy: Policy, column: int) -> bool:
    return rank(terms, objective, policy)[1][0] == column


def _stretches(
    marks: Iterable[Doubles],
    low: float,
    high: float,
    first: Callable[[float], bool],
    unfelt: float = 0.0,
) -> list[tuple[float, float]]:
    """Those between two neighbouring marks in which `first` holds, rising.

    One no wider than `unfelt` is of rounding alone.
    """
    inside = {float(mark) for many in marks for mark in many if low < mark < high}
    ends = pairwise(sorted({low, high} | inside))
    return [(a, b) for a, b in ends if b - a > max(_NARROW * b, unfelt) and first((a + b) / 2)]


def _joined(stretches: Iterable[tuple[float, float]], unfelt: float) -> list[tuple[float, float]]:
    """Neighbours made one."""
    joined: list[tuple[float, float]] = []
    for low, high in stretches:
        if joined and low - joined[-1][1] <= max(_NARROW * low, unfelt):
            low = joined.pop()[0]
        joined.append((low, high))
    return joined
