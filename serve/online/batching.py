"""Concurrent decisions share one forward pass: the only @serve.batch.

The pass runs on a thread of its own, so the event loop goes on moving bytes meanwhile.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from ray import serve

from serve.config import BatchSettings
from serve.online.telemetry import Telemetry
from serve.protocol import Decision, Query
from serve.routing.pipeline import RoutingPipeline


class BatchedRouter:
    """RoutingPipeline behind a queue."""

    def __init__(
        self, pipeline: RoutingPipeline, batch: BatchSettings, telemetry: Telemetry
    ) -> None:
        self._pipeline = pipeline
        self._telemetry = telemetry
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="router")
        self._decide_batch.set_max_batch_size(batch.max_size)
        self._decide_batch.set_batch_wait_timeout_s(batch.wait_ms / 1000)

    async def decide(self, query: Query) -> Decision:
        """The decision for one query."""
        decision: Decision = await self._decide_batch(query)
        return decision

    @serve.batch  # type: ignore[untyped-decorator]
    async def _decide_batch(self, queries: list[Query]) -> list[Decision]:
        loop = asyncio.get_running_loop()
        decisions = await loop.run_in_executor(self._thread, self._pipeline.decide, queries)
        self._telemetry.batch(len(queries))
        return decisions
