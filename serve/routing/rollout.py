"""The router that serves and, beside it, a challenger: watched on every query, acting on a share.

With share 0 the challenger is a shadow, above 0 a canary. Both read the same vectors, so it costs
a prediction, not a forward pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from serve.protocol import Decision, Lap, Query, unheard
from serve.routing.pipeline import NOBODY, RoutingPipeline
from serve.terms import Snapshot


@dataclass(frozen=True)
class Ruling:
    """What both routers said of one query.

    Attributes:
        champion: the served router's decision.
        challenger: the other's; None where there is none.
        canary: whether the challenger's decision is the one that acts.
    """

    champion: Decision
    challenger: Decision | None = None
    canary: bool = False

    @property
    def acting(self) -> Decision:
        """The decision that the request follows."""
        return self.challenger if self.canary and self.challenger else self.champion

    @property
    def differs(self) -> bool:
        """Whether the challenger picks another expert."""
        return (
            self.challenger is not None and self.challenger.pick.expert != self.champion.pick.expert
        )

    @property
    def regret(self) -> float:
        """Utility that the challenger's pick loses, by the champion's own predictions; 0 and more.

        An expert that the champion does not know counts as no loss: it has no prediction of it.
        """
        if self.challenger is None:
            return 0.0
        theirs = self.challenger.pick.expert
        known = [c.utility for c in self.champion.candidates if c.expert == theirs]
        return self.champion.pick.utility - known[0] if known else 0.0


class Rollout:
    """Decides by the champion, and on a share of the queries by the challenger.

    Args:
        champion: the served router.
        challenger: another one on the same encoder, or None.
        share: of the queries that the challenger decides, 0..1.
    """

    def __init__(
        self,
        champion: RoutingPipeline,
        challenger: RoutingPipeline | None = None,
        share: float = 0.0,
    ) -> None:
        self.champion = champion
        self.challenger = challenger
        self._share = share

    def decide(
        self,
        queries: Sequence[Query],
        tickets: Sequence[float],
        snapshot: Snapshot = NOBODY,
        lap: Lap = unheard,
    ) -> list[Ruling]:
        """One ruling a query, in order; `tickets` in 0..1, see ticket()."""
        reading = self.champion.read(queries, lap)
        ours = self.champion.decide_on(reading, queries, snapshot, lap)
        if self.challenger is None:
            return [Ruling(decision) for decision in ours]
        theirs = self.challenger.decide_on(reading, queries, snapshot, lap)
        return [
            Ruling(mine, other, canary=number < self._share)
            for mine, other, number in zip(ours, theirs, tickets, strict=True)
        ]


def ticket(key: str) -> float:
    """A number in 0..1 that a key always draws, on every replica: which router decides for it."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
