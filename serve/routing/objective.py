"""Objectives turn predictions and prices into utilities of the experts.

Knows nothing of text, vectors or the request path.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from serve.protocol import Doubles


class Objective(Protocol):
    """What a pick maximises."""

    kind: ClassVar[str]

    @property
    def lam(self) -> float:
        """Quality that one dollar is worth, as the guard asks it."""
        ...

    @property
    def mu(self) -> float:
        """Quality that one second is worth."""
        ...

    @property
    def formula(self) -> str:
        """What a person reads."""
        ...

    def utility(self, quality: Doubles, cost: Doubles) -> Doubles:
        """(E,) expected quality and (E,) expected dollars -> (E,); higher is better."""
        ...


@dataclass(frozen=True)
class LinearCost:
    """quality - lambda * cost: UniRoute's rule (arXiv 2502.08773), gamma = 1 - quality.

    Attributes:
        lam: quality that one dollar is worth, so 1 / USD.
        mu: quality that one second is worth, so 1 / s.
    """

    kind: ClassVar[str] = "linear_cost"
    lam: float = 0.0
    mu: float = 0.0

    @property
    def formula(self) -> str:
        """The rule with its number."""
        time = f" - {self.mu:g} * seconds" if self.mu else ""
        return f"quality - {self.lam:g} * cost_usd{time}"

    def utility(self, quality: Doubles, cost: Doubles) -> Doubles:
        """quality - lam * cost; what seconds are worth is taken off in choice.py."""
        return quality - self.lam * cost


@dataclass(frozen=True)
class Budget:
    """The best expert whose answer is expected to cost no more than a budget.

    Attributes:
        budget_usd: of one answer. Where none is that cheap, the cheapest is picked.
    """

    kind: ClassVar[str] = "budget"
    lam: ClassVar[float] = 0.0
    mu: ClassVar[float] = 0.0
    budget_usd: float

    @property
    def formula(self) -> str:
        """The rule with its number."""
        return f"best quality with cost_usd <= {self.budget_usd:g}"

    def utility(self, quality: Doubles, cost: Doubles) -> Doubles:
        """Quality within the budget; beyond it, minus the dollars that are too many."""
        return np.where(cost <= self.budget_usd, quality, np.minimum(self.budget_usd - cost, -0.0))


@dataclass(frozen=True)
class CheapestWithin:
    """The cheapest expert whose quality is expected within theta of the best one's.

    Attributes:
        theta: quality that may be given up, 0..1.
    """

    kind: ClassVar[str] = "cheapest_within"
    lam: ClassVar[float] = 0.0
    mu: ClassVar[float] = 0.0
    theta: float

    @property
    def formula(self) -> str:
        """The rule with its number."""
        return f"cheapest with quality within {self.theta:g} of the best"

    def utility(self, quality: Doubles, cost: Doubles) -> Doubles:
        """Minus the cost for those within theta; the others follow, the best of them first."""
        behind = quality.max() - quality
        return np.where(behind <= self.theta, -cost, -cost.max() - behind)


OBJECTIVES: dict[str, type[LinearCost] | type[Budget] | type[CheapestWithin]] = {
    LinearCost.kind: LinearCost,
    Budget.kind: Budget,
    CheapestWithin.kind: CheapestWithin,
}
"""The objectives that the settings may name, one line each."""


def traded(tradeoff: float, exchange: float) -> LinearCost:
    """The objective of a tradeoff between quality (0) and cost (1).

    At 0.5 the spread of mean quality over the pool is worth the spread of mean cost, whatever the
    prices: lambda = tradeoff / (1 - tradeoff) * exchange. So it means the same for every pool.

    Args:
        tradeoff: 0..1.
        exchange: quality per dollar, spread over spread.
    """
    return LinearCost(tradeoff / max(1 - tradeoff, 1e-6) * exchange)


def tradeoff_of(lam: float, exchange: float) -> float:
    """The tradeoff whose objective has this lambda: traded() backwards; exchange > 0."""
    return lam / (lam + exchange)
