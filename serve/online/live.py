"""The figures of now: what one ingress replica did since it started, and with its last requests.

The metrics' gauges and /v1/live both read it, so that a console and a dashboard say the same.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serve.online.apis.base import Bill, Usage
from serve.protocol import Decision
from serve.routing.deferral import baseline, deferral, priciest
from serve.routing.pipeline import RoutingPipeline

WINDOW = 500
"""Routed requests that the shares and the curve are of."""


@dataclass
class Sum:
    """What one expert did since the start."""

    requests: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    priciest_usd: float = 0.0
    best_single_usd: float = 0.0


@dataclass(frozen=True)
class Seen:
    """One routed request.

    Attributes:
        expert: who answered.
        quality, cost_usd, may: (E,) of the candidates, in the order of the pool.
        novel: whether it is unlike any training prompt.
    """

    expert: str
    quality: tuple[float, ...]
    cost_usd: tuple[float, ...]
    may: tuple[bool, ...]
    novel: bool


class Live:
    """One replica's figures.

    Args:
        experts: ids of those that generate.
    """

    def __init__(self, experts: Sequence[str]) -> None:
        self._experts = tuple(experts)
        self._sums = {name: Sum() for name in experts}
        self._window: deque[Seen] = deque(maxlen=WINDOW)

    def dispatched(self, expert: str, decision: Decision | None) -> None:
        """One request goes to an expert; `decision` is None where the client chose it."""
        self._sums[expert].requests += 1
        if decision is None:
            return
        known = {candidate.expert: candidate for candidate in decision.candidates}
        row = [known[name] for name in self._experts]
        self._window.append(
            Seen(
                expert,
                tuple(c.quality for c in row),
                tuple(c.cost_usd for c in row),
                tuple(c.bar is None for c in row),
                decision.novelty is not None and decision.novelty >= 1,
            )
        )

    def billed(self, expert: str, usage: Usage, bill: Bill) -> None:
        """An answer is over."""
        total = self._sums[expert]
        total.output_tokens += usage.output_tokens
        total.cost_usd += bill.cost_usd
        total.priciest_usd += bill.priciest_usd
        total.best_single_usd += bill.best_single_usd

    @property
    def shares(self) -> dict[str, float]:
        """By expert, 0..1; all 0 before the first routed request."""
        counted = Counter(seen.expert for seen in self._window)
        return {name: counted[name] / max(1, len(self._window)) for name in self._experts}

    @property
    def ood_ratio(self) -> float:
        """Share of the routed requests that are unlike any training prompt."""
        return sum(seen.novel for seen in self._window) / max(1, len(self._window))

    def figures(self, router: RoutingPipeline, depths: Mapping[str, int]) -> dict[str, Any]:
        """What `together` takes, of this replica.

        Args:
            router: that serves.
            depths: expert id -> requests under way.
        """
        counted = Counter(seen.expert for seen in self._window)
        sums = self._sums.values()
        return {
            "router": router.router,
            "best_single": router.best_single,
            "tradeoff": router.tradeoff,
            "guard_active": not router.trusted,
            "window": len(self._window),
            "novel": sum(seen.novel for seen in self._window),
            "priciest_usd": sum(s.priciest_usd for s in sums),
            "best_single_usd": sum(s.best_single_usd for s in sums),
            "experts": {
                name: {
                    "requests": total.requests,
                    "recent": counted[name],
                    "cost_usd": total.cost_usd,
                    "output_tokens": total.output_tokens,
                    "queue_depth": depths[name],
                }
                for name, total in self._sums.items()
            },
            "curve": self._curve(router),
            "priciest": self._priciest(),
        }

    def _priciest(self) -> str | None:
        """Who would have cost the most for the last routed requests; None: there are none."""
        if not self._window:
            return None
        return self._experts[priciest(np.array([one.cost_usd for one in self._window]))]

    def _curve(self, router: RoutingPipeline) -> dict[str, Any]:
        seen = [one for one in self._window if any(one.may)]
        if not seen:
            return {"requests": 0, "points": []}
        cost = np.array([one.cost_usd for one in seen])
        quality = np.array([one.quality for one in seen])
        may = np.array([one.may for one in seen])
        order = [self._experts.index(name) for name in router.experts]
        points = deferral(quality[:, order], cost[:, order], may[:, order], router.guard)
        best = self._experts.index(router.best_single)
        beside = {
            "best_single_usd": baseline(cost, best),
            "priciest_usd": baseline(cost, priciest(cost)),
        }
        return {
            "requests": len(seen),
            "points": [
                {
                    "tradeoff": point.tradeoff,
                    "quality": point.quality,
                    "cost_usd": point.cost_usd,
                    **beside,
                    "share": dict(zip(router.experts, point.share.tolist(), strict=True)),
                }
                for point in points
            ],
        }


def together(replicas: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of all replicas as /v1/live answers them; of the first one's router."""
    window = max(1, sum(one["window"] for one in replicas))
    experts = []
    for name in replicas[0]["experts"]:
        rows = [one["experts"][name] for one in replicas]
        total = {field: sum(row[field] for row in rows) for field in rows[0]}
        experts.append({"id": name, "share": total.pop("recent") / window, **total})
    spent = sum(expert["cost_usd"] for expert in experts)
    return {
        "replicas": len(replicas),
        "router": replicas[0]["router"],
        "best_single": replicas[0]["best_single"],
        "priciest": next((one["priciest"] for one in replicas if one["priciest"]), None),
        "tradeoff": replicas[0]["tradeoff"],
        "guard_active": replicas[0]["guard_active"],
        "ood_ratio": sum(one["novel"] for one in replicas) / window,
        "requests": sum(expert["requests"] for expert in experts),
        "cost_usd": spent,
        "saved_usd": {
            other: sum(one[f"{other}_usd"] for one in replicas) - spent
            for other in ("best_single", "priciest")
        },
        "experts": experts,
        "curve": _mean_curve([one["curve"] for one in replicas if one["curve"]["points"]]),
    }


def _mean_curve(curves: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over all their requests."""
    requests = sum(curve["requests"] for curve in curves)
    points = []
    for same in zip(*(curve["points"] for curve in curves), strict=True):
        parts = [(c["requests"] / requests, p) for c, p in zip(curves, same, strict=True)]
        mean = {
            field: sum(weight * point[field] for weight, point in parts)
            for field in ("quality", "cost_usd", "best_single_usd", "priciest_usd")
        }
        share = {
            name: sum(weight * point["share"][name] for weight, point in parts)
            for name in same[0]["share"]
        }
        points.append({"tradeoff": same[0]["tradeoff"], **mean, "share": share})
    return {"requests": requests, "points": points}
