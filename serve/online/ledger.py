"""What keys may still take, and what they took: counters that all ingress replicas share.

The request path waits for the counters in one place, `admit` of a key with limits, and no longer
than ADMIT_S. What answers took is added up here and sent once a second. Counters that do not answer
refuse nobody: a gateway that stops because its counter stops would be worse than one that
undercounts, and the metric ledger_lost and the log say so.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Mapping
from math import ceil
from typing import Any, Protocol

from serve.config import AccessSettings
from serve.errors import LedgerUnavailable, TooManyRequests
from serve.online.access import Caller, Limits
from serve.online.counters import (
    KEEP_DAYS,
    Place,
    Room,
    Standing,
    Total,
    Totals,
    day_of,
    days_ago,
)

logger = logging.getLogger("ray.serve")

ADMIT_S = 0.5
FLUSH_S = 1.0
REST_S = 1.0
"""After a failure nobody waits for the counters for so long."""
SEND_S = 10.0
SAY_EVERY_S = 60.0


class SharedCounters(Protocol):
    """serve.online.counters.Counters, here, in Redis or in the Ray actor."""

    async def admit(self, key: str, limits: Limits) -> Standing:
        """Count one request of a key, unless a limit is used up."""

    async def add(self, totals: Totals, tokens: Mapping[str, tuple[int, int]]) -> None:
        """Charge answers."""

    async def since(self, day: str) -> dict[Place, Total]:
        """The totals from that day on."""


class CountsUsage(Protocol):
    """The part of AccessTelemetry that is needed here."""

    def used(
        self, key: str, expert: str, input_tokens: int, output_tokens: int, usd: float
    ) -> None:
        """One answer was paid for."""

    def turned_away(self, reason: str) -> None:
        """One request was refused."""

    def ledger_lost(self) -> None:
        """The ledger did not answer once."""


def shared_counters(settings: AccessSettings, application: str) -> SharedCounters:
    """Redis where the settings name one, else the Ray actor of the application.

    Raises:
        SettingsError: that Redis does not answer.
    """
    if settings.redis is not None:
        from serve.online.redis_counters import in_redis

        return in_redis(settings.redis)
    from serve.online.ledger_actor import ActorCounters

    return ActorCounters(application)


class Ledger:
    """One replica's way to the counters."""

    def __init__(self, counters: SharedCounters, telemetry: CountsUsage) -> None:
        self._counters = counters
        self._telemetry = telemetry
        self._totals: defaultdict[Place, Total] = defaultdict(Total)
        self._tokens: dict[str, tuple[int, int]] = {}
        self._sender: asyncio.Task[None] | None = None
        self._rest_until = 0.0
        self._said = -SAY_EVERY_S

    async def admit(self, caller: Caller) -> dict[str, str]:
        """Count one request of a caller; the x-ratelimit headers of its answer.

        A caller without limits costs nothing here. One whose counters do not answer is admitted.

        Raises:
            TooManyRequests: a limit is used up.
        """
        if not caller.limits:
            return {}
        if time.monotonic() < self._rest_until:
            self._telemetry.ledger_lost()
            return {}
        try:
            async with asyncio.timeout(ADMIT_S):
                standing = await self._counters.admit(caller.name, caller.limits)
        except Exception as error:  # of Ray, of Redis, of the network: all the same here
            # What came too late for this request may still be counted, rightly: it goes through.
            self._rest_until = time.monotonic() + REST_S
            self._lost(error)
            return {}
        headers = _headers(standing)
        if standing.refused is not None:
            self._telemetry.turned_away(standing.refused)
            raise _refusal(caller, standing, headers)
        return headers

    def charge(self, caller: Caller, expert: str, total: Total) -> None:
        """One answer's tokens and dollars, `total.requests` being 1.

        It does not wait, so that it may be called where a stream is closed; within the event loop.
        Other replicas, and `admit`, see it within about a second.
        """
        name, tokens = caller.name, total.input_tokens + total.output_tokens
        place = (day_of(time.time()), name, expert)
        self._totals[place] = self._totals[place].plus(total)
        limit = caller.limits.tokens_per_minute
        if limit is not None and tokens > 0:
            used = self._tokens.get(name, (limit, 0))[1]
            self._tokens[name] = (limit, used + tokens)
        self._telemetry.used(name, expert, total.input_tokens, total.output_tokens, total.cost_usd)
        if self._sender is None:
            self._sender = asyncio.get_running_loop().create_task(self._send_soon())

    async def flush(self) -> bool:
        """Send what waits; False where it has to wait on.

        Totals of a failed attempt are sent again, so they count twice where only the answer was
        lost; tokens of a minute are not, as their minute has passed.
        """
        totals, self._totals = self._totals, defaultdict(Total)
        tokens, self._tokens = self._tokens, {}
        if not totals:
            return True
        try:
            async with asyncio.timeout(SEND_S):
                await self._counters.add(totals, tokens)
        except Exception as error:
            for place, total in totals.items():
                self._totals[place] = self._totals[place].plus(total)
            self._lost(error)
            return False
        return True

    async def usage(self, days: int, key: str | None = None) -> list[dict[str, Any]]:
        """The totals of the last days, today included, as /v1/usage answers them.

        Args:
            days: 1 to KEEP_DAYS; more is as good as KEEP_DAYS.
            key: of this one alone; None: of all.

        Raises:
            LedgerUnavailable: the counters do not answer.
        """
        await self.flush()
        try:
            async with asyncio.timeout(SEND_S):
                totals = await self._counters.since(days_ago(min(max(days, 1), KEEP_DAYS) - 1))
        except Exception as error:
            self._lost(error)
            raise LedgerUnavailable("The counters of usage do not answer") from error
        return [
            {"day": day, "key": name, "expert": expert, **total._asdict()}
            for (day, name, expert), total in sorted(totals.items())
            if key in (None, name)
        ]

    async def _send_soon(self) -> None:
        while self._totals:
            await asyncio.sleep(FLUSH_S)
            await self.flush()
        self._sender = None

    def _lost(self, error: Exception) -> None:
        self._telemetry.ledger_lost()
        now = time.monotonic()
        if now - self._said >= SAY_EVERY_S:
            self._said = now
            # The type alone: a client's own text may hold an address with a password.
            logger.error(f"The ledger does not answer ({type(error).__name__}): limits are off")


def _headers(standing: Standing) -> dict[str, str]:
    """OpenAI's names; the reset of requests is when the next one frees, not when all have."""
    headers = {}
    rooms: dict[str, Room | None] = {"requests": standing.requests, "tokens": standing.tokens}
    for what, room in rooms.items():
        if room is not None:
            headers[f"x-ratelimit-limit-{what}"] = str(room.limit)
            headers[f"x-ratelimit-remaining-{what}"] = str(room.remaining)
            headers[f"x-ratelimit-reset-{what}"] = f"{ceil(room.reset_s)}s"
    return headers


def _refusal(caller: Caller, standing: Standing, headers: dict[str, str]) -> TooManyRequests:
    limits, wait = caller.limits, max(1, ceil(standing.retry_after))
    kind, limit, when = {
        "requests": ("requests", f"{limits.requests_per_minute} requests a minute", f"{wait} s"),
        "tokens": ("tokens", f"{limits.tokens_per_minute} tokens a minute", f"{wait} s"),
        "usd": (
            "insufficient_quota",
            f"{limits.usd_per_day} US dollars a day",
            f"{wait // 3600} h {wait % 3600 // 60} min, at midnight UTC",
        ),
    }[str(standing.refused)]
    return TooManyRequests(
        f"The key {caller.name} has used up its {limit}; it frees in {when}.",
        type=kind,
        retry_after=standing.retry_after,
        headers=headers,
    )
