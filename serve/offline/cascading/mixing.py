"""The best that costs the same without reading anything: two constants mixed at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serve.offline.metrics import hull
from serve.protocol import Doubles


@dataclass(frozen=True)
class Mixed:
    """A random mixture of two experts on n prompts, in expectation.

    Attributes:
        quality: (n,).
        cost: (n,) US dollars.
        lam: quality that a dollar buys by mixing, from prompts seen before.
    """

    quality: Doubles
    cost: Doubles
    lam: float

    def advantage(self, quality: Doubles, cost: Doubles) -> Doubles:
        """(n,) what answers earn above it; dollars that they spend beyond its own count as what
        mixing would have bought for them."""
        return np.asarray(quality - self.quality - self.lam * (cost - self.cost))


def mixed(
    seen_quality: Doubles,
    seen_cost: Doubles,
    quality: Doubles,
    cost: Doubles,
    spent: Doubles,
    usd: float,
) -> Mixed:
    """The best mixture of E experts that costs what a cascade does.

    Which two, and what a dollar buys, comes from prompts seen before; how much of each, from the
    cost it has to match. Beyond the best expert's cost that one alone is the mixture.

    Args:
        seen_quality: (N, E) of the prompts seen before.
        seen_cost: (N, E) of the same.
        quality: (n, E) of the prompts judged on.
        cost: (n, E) of the same.
        spent: (n,) dollars of the cascade there.
        usd: its mean dollars on the prompts seen before.
    """
    means, costs = seen_quality.mean(axis=0), seen_cost.mean(axis=0)
    x, y = hull(costs, means)
    right = int(np.clip(np.searchsorted(x, usd), min(1, len(x) - 1), len(x) - 1))
    left = max(right - 1, 0)
    low, high = (int(np.flatnonzero((costs == x[i]) & (means == y[i]))[0]) for i in (left, right))
    if left == right or usd >= x[-1]:
        return Mixed(quality[:, high], cost[:, high], 0.0)
    a, b = cost[:, low].mean(), cost[:, high].mean()
    share = float(np.clip((spent.mean() - a) / (b - a), 0, 1)) if b > a else 0.0
    return Mixed(
        (1 - share) * quality[:, low] + share * quality[:, high],
        (1 - share) * cost[:, low] + share * cost[:, high],
        float((y[right] - y[left]) / (x[right] - x[left])),
    )
