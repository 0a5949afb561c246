"""Concurrent decisions share one forward pass: the only @serve.batch.

The pass runs on a thread of its own, so the event loop goes on moving bytes meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from ray import serve

from serve.config import BatchSettings
from serve.online.telemetry import Telemetry
from serve.protocol import Query
from serve.routing.rollout import Rollout, Ruling


class BatchedRouter:
    """A Rollout behind a queue, which can be exchanged while it decides."""

    def __init__(self, rollout: Rollout, batch: BatchSettings, telemetry: Telemetry) -> None:
        self._rollout = rollout
        self._telemetry = telemetry
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="router")
        self._decide_batch.set_max_batch_size(batch.max_size)
        self._decide_batch.set_batch_wait_timeout_s(batch.wait_ms / 1000)

    @property
    def rollout(self) -> Rollout:
        """What decides now."""
        return self._rollout

    def exchange(self, rollout: Rollout) -> None:
        """Let another one decide from the next batch on; a batch under way ends with its own."""
        self._rollout = rollout

    async def decide(self, query: Query, ticket: float) -> Ruling:
        """The ruling on one query; `ticket` as of routing/rollout.py."""
        ruling: Ruling = await self._decide_batch(query, ticket)
        return ruling

    @serve.batch  # type: ignore[untyped-decorator]
    async def _decide_batch(self, queries: list[Query], tickets: list[float]) -> list[Ruling]:
        loop = asyncio.get_running_loop()
        decide = self._rollout.decide
        rulings = await loop.run_in_executor(self._thread, decide, queries, tickets)
        self._telemetry.batch(Counter(ruling.acting.router for ruling in rulings))
        for ruling in rulings:
            self._telemetry.compared(ruling)
        return rulings
