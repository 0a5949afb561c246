"""Concurrent decisions share one forward pass: the only @serve.batch.

The pass runs on a thread of its own, so the event loop goes on moving bytes meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from ray import serve

from serve.config import BatchSettings
from serve.online.stages import Stages
from serve.online.telemetry import Telemetry
from serve.protocol import Query
from serve.routing.rollout import Rollout, Ruling
from serve.terms import Snapshot

LOST_S = 10.0
"""A forward pass that takes longer is lost: its requests are decided without one."""


class BatchedRouter:
    """A Rollout behind a queue, which can be exchanged while it decides."""

    def __init__(self, rollout: Rollout, batch: BatchSettings, telemetry: Telemetry) -> None:
        self._rollout = rollout
        self._telemetry = telemetry
        self._thread = _thread()
        self._free_at = 0.0
        self._decide_batch.set_max_batch_size(batch.max_size)
        self._decide_batch.set_batch_wait_timeout_s(batch.wait_ms / 1000)

    @property
    def rollout(self) -> Rollout:
        """What decides now."""
        return self._rollout

    def exchange(self, rollout: Rollout) -> None:
        """Let another one decide from the next batch on; a batch under way ends with its own."""
        self._rollout = rollout

    async def decide(
        self, query: Query, ticket: float, snapshot: Snapshot, stages: Stages
    ) -> Ruling:
        """The ruling on one query.

        Args:
            query: what the router reads.
            ticket: as of routing/rollout.py.
            snapshot: the experts now.
            stages: told where the time went.
        """
        ruling: Ruling = await self._decide_batch(query, ticket, snapshot, stages)
        return ruling

    def blind(self, query: Query, snapshot: Snapshot) -> Ruling:
        """The ruling without the model: see RoutingPipeline.blind."""
        return Ruling(self._rollout.champion.blind(query, snapshot))

    @serve.batch  # type: ignore[untyped-decorator]
    async def _decide_batch(
        self,
        queries: list[Query],
        tickets: list[float],
        snapshots: list[Snapshot],
        stages: list[Stages],
    ) -> list[Ruling]:
        begun = Stages()
        for own in stages:
            own.until("queue", min(self._free_at, begun.began))
            own.until("batch_wait", begun.began)
        rulings = await self.one_pass(queries, tickets, snapshots[-1], begun)
        self._free_at = time.perf_counter()
        for own in stages:
            own.spans += begun.spans
        self._telemetry.batch(Counter(ruling.acting.router for ruling in rulings), begun.seconds)
        for ruling in rulings:
            self._telemetry.compared(ruling)
        return rulings

    async def one_pass(
        self,
        queries: list[Query],
        tickets: list[float],
        snapshot: Snapshot,
        stages: Stages,
    ) -> list[Ruling]:
        """One ruling a query, on the router's thread, which tells `stages`.

        Raises:
            TimeoutError: it took longer than LOST_S.
        """
        loop = asyncio.get_running_loop()
        decide = self._rollout.decide
        work = loop.run_in_executor(self._thread, decide, queries, tickets, snapshot, stages.lap)
        try:
            async with asyncio.timeout(LOST_S):
                return await work
        except TimeoutError:
            # Whatever holds the thread keeps it; the next batch gets another one.
            self._thread = _thread()
            raise


def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="router")
