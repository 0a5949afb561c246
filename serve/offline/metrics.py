"""What a router is worth on prompts whose answers are known: pure functions of arrays.

Throughout: `quality` (N, E) is measured, 0..1 and complete; `cost` (N, E) is measured, in US
dollars; a curve is the deferral curve of UniRoute (arXiv 2502.08773), mean cost against mean
quality of the picks as lambda sweeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from serve.protocol import Doubles

Picks: TypeAlias = NDArray[np.int64]

BUDGETS = 200
_TIE = 1e-12


@dataclass(frozen=True)
class Curve:
    """L points, one a lambda.

    Attributes:
        lam: (L,) quality that one dollar is worth, rising from 0.
        cost: (L,) mean dollars of the picks.
        quality: (L,) mean quality of the picks.
    """

    lam: Doubles
    cost: Doubles
    quality: Doubles


def lambdas(cost: Doubles, points: int = 160) -> Doubles:
    """(L,) lambdas that sweep a pool of that (N, E) cost from 'quality alone' to 'cost alone'."""
    means = cost.mean(axis=0)
    spread = float(means.max() - means.min())
    if spread <= 0:
        return np.zeros(1)
    return np.concatenate([[0.0], np.geomspace(1e-3, 1e3, points)]) / spread


def picks_at(predicted: Doubles, expected_cost: Doubles, lam: float) -> Picks:
    """(N,) columns of highest predicted quality - lam * cost; ties go to the cheaper expert."""
    utility = predicted - lam * expected_cost
    best = utility.max(axis=1, keepdims=True)
    return np.asarray(np.where(utility >= best - _TIE, expected_cost, np.inf).argmin(axis=1))


def earned(picks: Picks, values: Doubles) -> Doubles:
    """(N,) value of the pick on each prompt."""
    return np.asarray(values[np.arange(len(picks)), picks])


def curve_of(picks: list[Picks], lam: Doubles, quality: Doubles, cost: Doubles) -> Curve:
    """The curve of L lists of picks."""
    return Curve(
        lam,
        np.array([earned(p, cost).mean() for p in picks]),
        np.array([earned(p, quality).mean() for p in picks]),
    )


def reached(curve: Curve, budgets: Doubles) -> Doubles:
    """(B,) best quality within each budget; below the curve's cheapest point, 0."""
    order = np.argsort(curve.cost, kind="stable")
    best = np.maximum.accumulate(curve.quality[order])
    at = np.searchsorted(curve.cost[order], budgets * (1 + 1e-9), side="right") - 1
    return np.where(at >= 0, best[np.maximum(at, 0)], 0.0)


def area(curve: Curve, cost: Doubles) -> float:
    """Mean of `reached` over 200 budgets from the cheapest expert's cost to the priciest one's.

    Below the curve's own cheapest point its quality there counts.
    """
    means = cost.mean(axis=0)
    budgets = np.linspace(means.min(), means.max(), BUDGETS)
    return float(reached(curve, np.maximum(budgets, curve.cost.min())).mean())


def area50(curve: Curve, cost: Doubles) -> float:
    """UniRoute's Area(50 %): the integral over half of a cost axis on which the priciest is 1."""
    priciest = cost.mean(axis=0).max()
    budgets = np.linspace(0, 0.5, BUDGETS) * priciest
    return float(reached(curve, budgets).mean() * 0.5)


def qnc(curve: Curve, quality: Doubles, cost: Doubles) -> float | None:
    """UniRoute's QNC: least cost that matches the most accurate expert, over that one's cost.

    None where the curve never does. Of equally accurate experts the cheapest counts.
    """
    means, costs = quality.mean(axis=0), cost.mean(axis=0)
    best = np.lexsort((costs, -means))[0]
    matching = curve.quality >= means[best] - _TIE
    if not matching.any():
        return None
    return float(curve.cost[matching].min() / costs[best]) if costs[best] > 0 else 1.0


def hull(cost: Doubles, quality: Doubles) -> tuple[Doubles, Doubles]:
    """The non-decreasing upper concave hull of points: what mixing them at random can reach."""
    order = np.lexsort((-quality, cost))
    kept: list[int] = []
    for i in order:
        if kept and quality[i] <= quality[kept[-1]]:
            continue
        while len(kept) > 1 and _below(kept[-2], kept[-1], i, cost, quality):
            kept.pop()
        kept.append(int(i))
    return cost[kept], quality[kept]


def _below(a: int, b: int, c: int, cost: Doubles, quality: Doubles) -> bool:
    """Whether b lies on or under the line from a to c."""
    rise = (quality[b] - quality[a]) * (cost[c] - cost[a])
    return bool(rise <= (quality[c] - quality[a]) * (cost[b] - cost[a]))


def mixture(cost: Doubles, quality: Doubles, budgets: Doubles) -> Doubles:
    """(B,) quality of the best random mixture of constants within each budget.

    Args:
        cost: (E,) mean cost of each expert.
        quality: (E,) mean quality of each.
        budgets: (B,); below the cheapest hull point its quality counts.
    """
    x, y = hull(cost, quality)
    return np.interp(budgets, x, y)


def aiq(curve: Curve, cost: Doubles) -> float:
    """RouterBench's AIQ (arXiv 2403.12031): area under the curve's hull over the cost range.

    The range is the pool's, and outside its own points the hull is extended flat, so that routers
    of one pool are comparable; RouterBench's code starts at each hull's own first cost.
    """
    means = cost.mean(axis=0)
    x, y = hull(curve.cost, curve.quality)
    budgets = np.linspace(means.min(), means.max(), 1001)
    return float(np.interp(budgets, x, y).mean())


def cpt(score: Doubles, quality: Doubles, share: float = 0.5) -> float | None:
    """RouteLLM's CPT (arXiv 2406.18665): least share of calls to the strong expert that recovers
    `share` of the quality between weak and strong.

    Args:
        score: (N,) higher means: the strong expert is more worth its price here.
        quality: (N, 2), columns weak and strong.
        share: of the performance gap.

    Returns:
        None where no share of calls does.
    """
    recovered = _recovered(score, quality)
    enough = np.flatnonzero(recovered >= share - _TIE)
    return float(enough[0] / (len(recovered) - 1)) if len(enough) else None


def apgr(score: Doubles, quality: Doubles) -> float:
    """RouteLLM's APGR: the performance gap recovered, averaged over the share of strong calls."""
    return float(_recovered(score, quality).mean())


def _recovered(score: Doubles, quality: Doubles) -> Doubles:
    """(N + 1,) gap recovered when the k prompts of highest score go to the strong expert."""
    weak, strong = quality.mean(axis=0)
    order = np.argsort(-score, kind="stable")
    better = (quality[:, 1] - quality[:, 0])[order]
    total = np.concatenate([[0.0], np.cumsum(better)]) / len(score)
    return np.asarray(total / (strong - weak)) if strong != weak else np.zeros(len(total))
