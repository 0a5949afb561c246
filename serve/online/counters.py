"""Counts what keys take: limits over a storage of the limits package, totals beside it.

Three limits, each with the count that fits it:

- requests a minute: a moving window, so no 60 s ever hold more than the limit.
- tokens a minute: known only once an answer is there. What was used counts in windows of 60 s that
  begin with their first answer; while one is used up nothing is admitted. Answers under way go
  over it, and 60 s across two windows may hold twice the limit.
- dollars a day: the day's total of /v1/usage (UTC), so that both always say the same.

A request that is refused counts nowhere. All windows are of time.time. A clock that jumps back
would hold a key for as long as it jumped: in memory the windows are forgotten then (a key gets a
fresh minute); in Redis they expire 60 s after the last admitted request, by Redis's own clock. A
clock that jumps forward ends them early. Between machines, clocks shift a window by as much as
they differ.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, Protocol, TypeAlias

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

from serve.online.access import Limits

KEEP_DAYS = 40
NAMESPACE = "pointsman"
JUMP_S = 5.0
"""How far a clock may go back before that is a jump."""


class Total(NamedTuple):
    """What one key took of one expert on one day, in tokens and US dollars."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    cost_usd_priciest: float = 0.0
    cost_usd_best_single: float = 0.0

    def plus(self, other: Total) -> Total:
        """Both together."""
        return Total(
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cost_usd + other.cost_usd,
            self.cost_usd_priciest + other.cost_usd_priciest,
            self.cost_usd_best_single + other.cost_usd_best_single,
        )


Place: TypeAlias = tuple[str, str, str]
"""Day (YYYY-MM-DD, UTC), key, expert."""

Totals: TypeAlias = Mapping[Place, Total]


class Room(NamedTuple):
    """What one limit of a key leaves, and in how many seconds it leaves more."""

    limit: int
    remaining: int
    reset_s: float


class Standing(NamedTuple):
    """How a key stands after it asked to be admitted.

    Attributes:
        refused: the limit that is used up, or None: admitted, and counted.
        retry_after: seconds until it frees.
        requests, tokens: what is left of a minute's; None: without limit.
    """

    refused: Literal["requests", "tokens", "usd"] | None
    retry_after: float
    requests: Room | None
    tokens: Room | None


class Book(Protocol):
    """Keeps totals."""

    async def add(self, totals: Totals) -> None:
        """Add to what is kept."""

    async def since(self, day: str) -> dict[Place, Total]:
        """From that day on."""

    async def spent(self, day: str, key: str) -> float:
        """US dollars of one key on one day."""


class Counters:
    """The limits and totals of every key, wherever the storage is."""

    def __init__(self, storage: Storage, book: Book) -> None:
        self._storage = storage
        self._requests = MovingWindowRateLimiter(storage)
        self._tokens = FixedWindowRateLimiter(storage)
        self._book = book
        self._offset = time.time() - time.monotonic()

    async def admit(self, key: str, limits: Limits) -> Standing:
        """Count one request of a key, unless a limit is used up."""
        await self._forget_after_a_jump()
        now = time.time()
        tokens = requests = None
        if limits.tokens_per_minute is not None:
            tokens = await self._room(self._tokens, "tokens", key, limits.tokens_per_minute)
            if tokens.remaining < 1:
                return Standing("tokens", tokens.reset_s, None, tokens)
        if limits.usd_per_day is not None:
            spent = await self._book.spent(day_of(now), key)
            if spent >= limits.usd_per_day:
                return Standing("usd", _until_tomorrow(now), None, tokens)
        if limits.requests_per_minute is not None:
            item = RateLimitItemPerMinute(limits.requests_per_minute, namespace=NAMESPACE)
            admitted = await self._requests.hit(item, "requests", key)
            requests = await self._room(self._requests, "requests", key, item.amount)
            if not admitted:
                return Standing("requests", requests.reset_s, requests, tokens)
        return Standing(None, 0.0, requests, tokens)

    async def add(self, totals: Totals, tokens: Mapping[str, tuple[int, int]]) -> None:
        """Charge answers.

        Args:
            totals: what they add.
            tokens: of the keys with a limit on tokens: tokens a minute, and tokens just used.
        """
        for key, (limit, used) in tokens.items():
            item = RateLimitItemPerMinute(limit, namespace=NAMESPACE)
            # A fixed window counts what goes over its limit as well; limits' other two do not.
            await self._tokens.hit(item, "tokens", key, cost=used)
        await self._book.add(totals)

    async def since(self, day: str) -> dict[Place, Total]:
        """The totals from that day on."""
        return await self._book.since(day)

    async def _room(
        self,
        limiter: MovingWindowRateLimiter | FixedWindowRateLimiter,
        what: str,
        key: str,
        limit: int,
    ) -> Room:
        item = RateLimitItemPerMinute(limit, namespace=NAMESPACE)
        stats = await limiter.get_window_stats(item, what, key)
        reset = min(max(0.0, stats.reset_time - time.time()), 60.0)
        return Room(limit, max(0, stats.remaining), reset)

    async def _forget_after_a_jump(self) -> None:
        offset = time.time() - time.monotonic()
        if offset < self._offset - JUMP_S and isinstance(self._storage, MemoryStorage):
            await self._storage.reset()
        self._offset = offset


class MemoryBook:
    """Totals in this process."""

    def __init__(self) -> None:
        self._totals: defaultdict[Place, Total] = defaultdict(Total)
        self._spent: defaultdict[tuple[str, str], float] = defaultdict(float)

    async def add(self, totals: Totals) -> None:
        """Add to what is kept; forget what is too old."""
        for place, total in totals.items():
            self._totals[place] = self._totals[place].plus(total)
            self._spent[place[:2]] += total.cost_usd
        oldest = days_ago(KEEP_DAYS)
        for old in [place for place in self._totals if place[0] < oldest]:
            del self._totals[old]
            self._spent.pop(old[:2], None)

    async def since(self, day: str) -> dict[Place, Total]:
        """From that day on."""
        return {place: total for place, total in self._totals.items() if place[0] >= day}

    async def spent(self, day: str, key: str) -> float:
        """US dollars of one key on one day."""
        return self._spent.get((day, key), 0.0)


def in_memory() -> Counters:
    """Counters of this process."""
    return Counters(MemoryStorage(), MemoryBook())


def day_of(now: float) -> str:
    """The UTC day of a time in seconds since the epoch."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")


def days_ago(days: int) -> str:
    """The UTC day that is so many days before today's."""
    return (datetime.fromtimestamp(time.time(), UTC) - timedelta(days=days)).strftime("%Y-%m-%d")


def _until_tomorrow(now: float) -> float:
    return 86400 - now % 86400
