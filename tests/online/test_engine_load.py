"""What vLLM's own bookkeeping, filled by hand, tells the autoscaler."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from vllm.v1.engine.output_processor import OutputProcessor
from vllm.v1.metrics.stats import SchedulerStats

from serve.online.engine_load import EngineLoad


@pytest.fixture
def processor():
    made = OutputProcessor(None, log_stats=False)
    made.request_states = {
        "a": SimpleNamespace(prompt_len=10, is_prefilling=False),
        "b": SimpleNamespace(prompt_len=20, is_prefilling=True),
        "c": SimpleNamespace(prompt_len=60, is_prefilling=True),
    }
    return made


def test_it_tells_what_runs_what_waits_and_how_long_it_is(processor):
    load = EngineLoad(processor)
    load.record(SchedulerStats(num_running_reqs=1, num_waiting_reqs=2, kv_cache_usage=0.5), None)
    assert load.told() == {
        "running": 1.0,
        "waiting": 2.0,
        "waiting_tokens": 80.0,
        "prompt_tokens": 30.0,
        "kv_use": 0.5,
        "finished_per_s": 0.0,
    }


def test_it_tells_how_many_were_completed_a_second(processor):
    load = EngineLoad(processor)
    ended = SimpleNamespace(finished_requests=[None] * 5)
    load.record(None, ended)
    assert load.told()["finished_per_s"] > 0 == load.told()["finished_per_s"]


def test_engines_side_by_side_are_added(processor):
    load = EngineLoad(processor)
    for index, (waiting, use) in enumerate([(1, 0.2), (1, 0.6)]):
        load.record(
            SchedulerStats(num_waiting_reqs=waiting, kv_cache_usage=use), None, engine_idx=index
        )
    told = load.told()
    assert (told["waiting"], told["running"], told["kv_use"]) == (2.0, 1.0, pytest.approx(0.4))


def test_aborted_requests_do_not_stay_though_the_scheduler_says_no_more(processor):
    load = EngineLoad(processor)
    load.record(SchedulerStats(num_running_reqs=1, num_waiting_reqs=2, kv_cache_usage=0.5), None)
    load.told()
    processor.request_states.clear()
    assert set(load.told().values()) == {0.0}


def test_a_request_between_two_looks_is_seen_once(processor):
    processor.request_states.clear()
    load = EngineLoad(processor)
    load.record(SchedulerStats(), None)
    assert [load.told()["running"] for _ in range(2)] == [1.0, 0.0]
