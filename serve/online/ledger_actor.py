"""Counters in one Ray actor, shared by the ingress replicas of an application.

The actor is detached: an actor that belongs to the replica which made it would die with that
replica, and every key would get a fresh budget. It ends itself once Serve has not known the
application for GONE_S; an application deployed again sooner goes on with the same counters. A crash
of the actor loses the counters, and Ray starts it again; Redis keeps them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

import ray
from ray import serve

from serve import __version__
from serve.online.access import Limits
from serve.online.counters import Place, Standing, Total, Totals, in_memory

logger = logging.getLogger("ray.serve")

NAMESPACE = "pointsman"
WATCH_S = 60.0
GONE_S = 180.0
START_S = 60.0
"""How long the first replica waits for the actor's process."""


class LedgerActor:
    """The actor; `application` is Serve's name of it.

    Args:
        application: it watches over; empty: none, and it stays.
        watch_s: seconds between looks.
        gone_s: seconds without the application after which it ends.
    """

    def __init__(self, application: str, watch_s: float = WATCH_S, gone_s: float = GONE_S) -> None:
        self._counters = in_memory()
        self._application = application
        self._watch_s, self._gone_s = watch_s, gone_s
        self._watching: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        """Answers once it can count."""
        self._watch()

    async def admit(self, key: str, limits: Limits) -> Standing:
        """As Counters."""
        self._watch()
        return await self._counters.admit(key, limits)

    async def add(self, totals: Totals, tokens: Mapping[str, tuple[int, int]]) -> None:
        """As Counters."""
        self._watch()
        await self._counters.add(totals, tokens)

    async def since(self, day: str) -> dict[Place, Total]:
        """As Counters."""
        return await self._counters.since(day)

    def _watch(self) -> None:
        # Here and not in __init__: after a crash Ray calls __init__ alone.
        if self._watching is None and self._application:
            self._watching = asyncio.get_running_loop().create_task(self._end_after_it())

    async def _end_after_it(self) -> None:
        absent = 0.0
        while absent < self._gone_s:
            await asyncio.sleep(self._watch_s)
            # A controller that does not answer says nothing of the application.
            with contextlib.suppress(Exception):
                status = await asyncio.to_thread(serve.status)
                gone = self._application not in status.applications
                absent = absent + self._watch_s if gone else 0.0
        ray.kill(ray.get_runtime_context().current_actor)


class ActorCounters:
    """The actor as a replica sees it.

    Args:
        application: Serve's name of it.
        options: of LedgerActor, where not the usual ones.
    """

    def __init__(self, application: str, **options: Any) -> None:
        self._application = application
        self._options = options
        self._actor = self._find()
        try:
            ray.get(self._actor.ready.remote(), timeout=START_S)
        except ray.exceptions.RayError as error:
            logger.error(f"The ledger does not answer yet ({type(error).__name__})")

    async def admit(self, key: str, limits: Limits) -> Standing:
        """As Counters."""
        standing: Standing = await self._ask("admit", key, limits)
        return standing

    async def add(self, totals: Totals, tokens: Mapping[str, tuple[int, int]]) -> None:
        """As Counters."""
        await self._ask("add", dict(totals), dict(tokens))

    async def since(self, day: str) -> dict[Place, Total]:
        """As Counters."""
        totals: dict[Place, Total] = await self._ask("since", day)
        return totals

    async def _ask(self, method: str, *arguments: Any) -> Any:
        try:
            return await getattr(self._actor, method).remote(*arguments)
        except ray.exceptions.ActorDiedError:
            # It ended for good, as Ray has no more to start: the next call finds another.
            self._actor = await asyncio.to_thread(self._find)
            raise

    def _find(self) -> Any:
        # The version is in the name: an actor of older code may not know today's methods.
        name = f"ledger-{self._application}-{__version__}"
        actor = ray.remote(LedgerActor).options(
            name=name,
            namespace=NAMESPACE,
            get_if_exists=True,
            lifetime="detached",
            num_cpus=0,
            max_restarts=-1,
            max_concurrency=1000,
        )
        return actor.remote(self._application, **self._options)
