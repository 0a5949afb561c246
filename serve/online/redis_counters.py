"""Counters in Redis: shared by every gateway that names the same URL, and kept over restarts.

pointsman:*                    windows, by the limits package
pointsman:usage:DAY            a hash; KEY|EXPERT|COLUMN -> number, kept for KEEP_DAYS
pointsman:spent:DAY            a hash; KEY -> US dollars
"""

from __future__ import annotations

import os
from typing import Any

from limits.aio.storage import RedisStorage

from serve.errors import SettingsError
from serve.online.counters import KEEP_DAYS, NAMESPACE, Counters, Place, Total, Totals, days_ago

TIMEOUT_S = 1.0
INSTALL = "access.redis needs the package redis: pip install -e '.[redis]'"


def in_redis(variable: str) -> Counters:
    """Counters in the Redis whose URL that environment variable holds.

    Raises:
        SettingsError: not set, no URL, or nothing answers; never with the URL, which may hold a
            password.
    """
    url = checked_url(variable)
    from redis.asyncio import ConnectionPool, Redis

    pool = ConnectionPool.from_url(
        url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, decode_responses=True
    )
    # The pool has the address: limits would quote a URL in its own errors.
    shared: Any = pool  # limits takes one, and types its options too narrowly to say so
    storage = RedisStorage(
        "redis://", implementation="redispy", key_prefix=NAMESPACE, connection_pool=shared
    )
    return Counters(storage, RedisBook(Redis(connection_pool=pool)))


def checked_url(variable: str) -> str:
    """The URL, once a Redis has answered there.

    Raises:
        SettingsError: as in_redis.
    """
    url = os.environ.get(variable, "")
    if not url:
        raise SettingsError(f"access.redis: the environment variable {variable} is not set")
    try:
        from redis import Redis
        from redis.exceptions import AuthenticationError, RedisError
    except ImportError:
        raise SettingsError(INSTALL) from None
    try:
        with Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
        ) as client:
            client.ping()
    except ValueError:
        raise SettingsError(
            f"access.redis: {variable} holds no URL of the form redis://HOST:PORT/DATABASE"
        ) from None
    except (RedisError, OSError) as error:
        why = "it refuses the password" if isinstance(error, AuthenticationError) else "no answer"
        raise SettingsError(
            f"access.redis: the Redis in {variable} cannot be used ({why}); start it, correct the "
            "variable, or leave access.redis out to count in the Ray cluster"
        ) from None
    return url


class RedisBook:
    """Totals in Redis."""

    def __init__(self, client: Any) -> None:
        self._redis = client

    async def add(self, totals: Totals) -> None:
        """Add to what is kept, all or nothing."""
        if not totals:
            return
        keep = KEEP_DAYS * 86400
        async with self._redis.pipeline(transaction=True) as pipe:
            for (day, key, expert), total in totals.items():
                for column, amount in total._asdict().items():
                    if amount:
                        field = f"{key}|{expert}|{column}"
                        pipe.hincrbyfloat(_usage(day), field, amount)
                pipe.hincrbyfloat(_spent(day), key, total.cost_usd)
                pipe.expire(_usage(day), keep)
                pipe.expire(_spent(day), keep)
            await pipe.execute()

    async def since(self, day: str) -> dict[Place, Total]:
        """From that day on."""
        days = [d for d in (days_ago(n) for n in range(KEEP_DAYS + 1)) if d >= day]
        async with self._redis.pipeline(transaction=False) as pipe:
            for d in days:
                pipe.hgetall(_usage(d))
            answers = await pipe.execute()
        columns: dict[Place, dict[str, float]] = {}
        for d, fields in zip(days, answers, strict=True):
            for field, text in fields.items():
                key, expert, column = field.split("|")
                columns.setdefault((d, key, expert), {})[column] = float(text)
        return {place: _total(found) for place, found in columns.items()}

    async def spent(self, day: str, key: str) -> float:
        """US dollars of one key on one day."""
        return float(await self._redis.hget(_spent(day), key) or 0.0)


def _total(columns: dict[str, float]) -> Total:
    return Total(
        int(columns.get("requests", 0)),
        int(columns.get("input_tokens", 0)),
        int(columns.get("output_tokens", 0)),
        columns.get("cost_usd", 0.0),
        columns.get("cost_usd_priciest", 0.0),
        columns.get("cost_usd_best_single", 0.0),
    )


def _usage(day: str) -> str:
    return f"{NAMESPACE}:usage:{day}"


def _spent(day: str) -> str:
    return f"{NAMESPACE}:spent:{day}"
