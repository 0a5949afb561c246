"""The deferral curve of the traffic itself: what the last requests would have got and cost at every
tradeoff, by the router's own predictions of them.

Quality over cost as one exchanges for the other: the curve of "Universal Model Routing"
(arXiv 2502.08773), there over test prompts, here over what is asked.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serve.protocol import Doubles
from serve.routing.guard import Guard
from serve.routing.objective import traded

TRADEOFFS = tuple(step / 20 for step in range(21))


@dataclass(frozen=True)
class Point:
    """One tradeoff, in means over the requests.

    Attributes:
        tradeoff: 0: quality alone, 1: cost alone.
        quality: predicted, of the picks, 0..1.
        cost_usd: expected, of the picks.
        share: (E,) of the requests, by expert.
    """

    tradeoff: float
    quality: float
    cost_usd: float
    share: Doubles


def deferral(
    quality: Doubles, cost: Doubles, may: NDArray[np.bool_], guard: Guard | None
) -> list[Point]:
    """One point a tradeoff.

    Args:
        quality: (N, E) predicted, 0..1; N >= 1.
        cost: (N, E) expected dollars.
        may: (N, E) whether the expert may answer that request; one at least in every row.
        guard: at what tradeoffs the best constant decides, and what quality costs.
    """
    exchange = guard.exchange if guard is not None else 1.0
    return [_point(tradeoff, exchange, quality, cost, may, guard) for tradeoff in TRADEOFFS]


def _point(
    tradeoff: float,
    exchange: float,
    quality: Doubles,
    cost: Doubles,
    may: NDArray[np.bool_],
    guard: Guard | None,
) -> Point:
    objective = traded(tradeoff, exchange)
    utility = objective.utility(quality, cost)
    if guard is not None and not guard.trusts(objective.lam):
        utility = objective.utility(np.broadcast_to(guard.quality, quality.shape), cost)
    picks = np.where(may, utility, -np.inf).argmax(axis=1)
    rows = np.arange(len(picks))
    share = np.bincount(picks, minlength=quality.shape[1]) / len(picks)
    return Point(
        tradeoff, float(quality[rows, picks].mean()), float(cost[rows, picks].mean()), share
    )


def baseline(cost: Doubles, expert: int) -> float:
    """Mean expected dollars of always asking one expert, by its column."""
    return float(cost[:, expert].mean())


def priciest(cost: Doubles) -> int:
    """Column of the expert that costs the most on these requests."""
    return int(np.argmax(cost.mean(axis=0)))
