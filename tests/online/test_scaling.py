"""What Ray's autoscaler is told and what it gets, with its own context filled by hand."""

from __future__ import annotations

import json

import pytest
from ray.serve.config import AutoscalingConfig, AutoscalingContext

from serve.config import Autoscaling, IngressScaling
from serve.online.scaling import ExpertPolicy, IngressPolicy, scaled

SCALING = Autoscaling(min_replicas=0, max_replicas=8, target_ongoing_requests=10)


def context(told=None, requests=0.0, replicas=1, target=1, state=None, now=0.0, bounds=(0, 8)):
    return AutoscalingContext(
        deployment_id=None,
        deployment_name="e",
        app_name="a",
        current_num_replicas=replicas,
        target_num_replicas=target,
        running_replicas=[],
        total_num_requests=requests,
        total_queued_requests=0.0,
        aggregated_metrics=told or {},
        raw_metrics={},
        capacity_adjusted_min_replicas=bounds[0],
        capacity_adjusted_max_replicas=bounds[1],
        policy_state=state or {},
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=now,
        config=None,
    )


def policy(scaling=SCALING):
    """As Ray makes it of the settings, in another process."""
    config = AutoscalingConfig(**scaled(scaling, 60)["autoscaling_config"])
    made = config.policy.get_policy()
    return made(**json.loads(json.dumps(config.policy.policy_kwargs)))


def test_the_delays_are_ours_alone():
    config = AutoscalingConfig(**scaled(SCALING, 60)["autoscaling_config"])
    assert (config.upscale_delay_s, config.downscale_delay_s) == (0, 0)
    assert (config.min_replicas, config.max_replicas) == (0, 8)


def test_a_replica_that_goes_ends_what_it_has_begun():
    assert scaled(SCALING, 60)["graceful_shutdown_timeout_s"] == 60


def test_where_there_is_nothing_to_decide_ray_is_not_asked_to():
    fixed = AutoscalingConfig(**scaled(Autoscaling(), 60)["autoscaling_config"])
    assert fixed.policy.is_default_policy_function() and fixed.metrics_interval_s == 10


def test_an_experts_demand_is_what_engines_say_and_what_handles_sent_besides():
    told = {
        "running": {"r1": 4.0, "r2": 6.0},
        "waiting": {"r1": 3.0, "r2": 0.0},
        "waiting_tokens": {"r1": 300.0, "r2": 0.0},
        "prompt_tokens": {"r1": 50.0, "r2": 150.0},
        "kv_use": {"r1": 0.25, "r2": 0.75},
        "finished_per_s": {"r1": 1.0, "r2": 2.0},
    }
    demand = policy().demand(context(told, requests=18.0, replicas=2, target=3))
    assert (demand.replicas, demand.target) == (2, 3)
    assert (demand.running, demand.waiting, demand.routed) == (10.0, 3.0, 5.0)
    assert demand.waiting_tokens == 300 + 5 * 100
    assert (demand.kv_use, demand.finished_per_s) == (0.5, 3.0)


def test_what_is_on_its_way_brings_a_replica_before_an_engine_has_seen_it():
    replicas, _ = policy()(context({"running": {"r1": 0.0}}, requests=40.0))
    assert replicas == 4


@pytest.mark.parametrize("requests", [0.0, 0.4])
def test_a_health_check_is_no_demand(requests):
    assert policy().demand(context({"running": {"r1": 0.0}}, requests=requests)).routed == 0


def test_an_ingress_counts_decisions_and_the_streams_that_are_open():
    made = policy(IngressScaling(max_replicas=8))
    assert isinstance(made, IngressPolicy) and isinstance(made, ExpertPolicy)
    assert made(context({"decisions_per_s": {"a": 60.0, "b": 60.0}}, bounds=(1, 8)))[0] == 3
    assert made(context({"decisions_per_s": {"a": 1.0}}, requests=600.0, bounds=(1, 8)))[0] == 3


def test_a_cluster_at_part_of_its_capacity_has_part_of_the_bounds():
    assert policy()(context(requests=800.0, bounds=(0, 4)))[0] == 4


def follow(steps):
    """Contexts in turn, the state handed on as Ray hands it on, with counters of its own."""
    made, state, asked = policy(), {}, []
    for step in steps:
        replicas, state = made(context(**step, state=state))
        assert json.loads(json.dumps(state)) == state
        state = state | {"__decision_counters": 0, "__decision_timestamp": None}
        asked.append(replicas)
    return asked


def test_one_that_was_woken_is_not_put_to_sleep_for_what_it_slept_through():
    """Ray's own fast path wakes it: between its sleep and its first replica we are not asked."""
    long, short = SCALING.downscale_to_zero_delay_s + 1, 1.0
    busy = {"told": {"running": {"r": 1.0}}, "requests": 1.0}
    assert follow(
        [
            {**busy, "now": 0.0},
            {"now": long},
            {"replicas": 0, "target": 0, "now": long + short},
            {"replicas": 1, "target": 1, "now": 5 * long},
            {"replicas": 1, "target": 1, "now": 6 * long},
        ]
    ) == [1, 0, 0, 1, 0]
