"""What an engine has to do now, as vLLM itself counts it, for Ray Serve's autoscaler."""

from __future__ import annotations

from typing import Any

from vllm.v1.engine.output_processor import OutputProcessor
from vllm.v1.metrics.loggers import StatLoggerBase
from vllm.v1.metrics.stats import IterationStats, SchedulerStats

from serve.online.scaling import Rate


class EngineLoad(StatLoggerBase):  # type: ignore[misc]
    """One more of vLLM's stat loggers: keeps what the scheduler said last, and costs no more.

    Args:
        processor: of the engine, in this process; knows each request until its answer has ended.
    """

    def __init__(self, processor: OutputProcessor) -> None:
        self._processor = processor
        self._said: dict[int, SchedulerStats] = {}
        self._worked = False
        self._finished = Rate()

    def record(
        self,
        scheduler_stats: SchedulerStats | None,
        iteration_stats: IterationStats | None,
        mm_cache_stats: Any = None,
        engine_idx: int = 0,
    ) -> None:
        """vLLM's call after every step of an engine."""
        if scheduler_stats is not None:
            self._said[engine_idx] = scheduler_stats
            self._worked = True
        if iteration_stats is not None and iteration_stats.finished_requests:
            self._finished.happened(len(iteration_stats.finished_requests))

    def log_engine_initialized(self) -> None:
        """vLLM's call at the start; nothing to do."""

    def told(self) -> dict[str, float]:
        """What is under way since the last call, by the names of routing.scaling.Demand.

        Returns:
            `running`, `waiting`: requests; `waiting_tokens`: of their prompts; `prompt_tokens`:
            the mean of all under way; `kv_use`: share of the KV cache that is in use, 0..1;
            `finished_per_s`: requests that were completed.
        """
        # The scheduler is silent once its last request is aborted: what is under way bounds it.
        under_way = self._processor.get_num_unfinished_requests()
        queued = sum(s.num_waiting_reqs + s.num_skipped_waiting_reqs for s in self._said.values())
        waiting = min(queued, under_way)
        # A request that came and went between two calls is none, but the expert is not idle.
        running = max(under_way - waiting, int(self._worked))
        self._worked = False
        lengths = [state.prompt_len for state in self._processor.request_states.values()]
        use = [stats.kv_cache_usage for stats in self._said.values()] if under_way else []
        return {
            "running": float(running),
            "waiting": float(waiting),
            "waiting_tokens": float(self._processor.get_num_queued_tokens()),
            "prompt_tokens": sum(lengths) / max(1, len(lengths)),
            "kv_use": sum(use) / max(1, len(use)),
            "finished_per_s": self._finished.per_s(),
        }
