from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from serve.config import Autoscaling, IngressScaling
from serve.routing.scaling import SPEED_S, Demand, ScalingRule, desired, needed

RULE = ScalingRule(
    min_replicas=1,
    max_replicas=50,
    target_ongoing_requests=10,
    target_waiting_tokens=1000,
    target_kv_use=0.8,
    downscale_delay_s=300,
    downscale_to_zero_delay_s=900,
)
ZERO = replace(RULE, min_replicas=0)


@st.composite
def rules(draw):
    low = draw(st.integers(0, 5))
    seconds = st.sampled_from([0.0, 1.0, 7.5, 60.0, 300.0])
    return ScalingRule(
        min_replicas=low,
        max_replicas=draw(st.integers(max(low, 1), 40)),
        target_ongoing_requests=draw(st.floats(0.5, 100)),
        target_waiting_tokens=draw(st.floats(100, 1e5)),
        target_kv_use=draw(st.floats(0.1, 1)),
        upscale_delay_s=draw(seconds),
        downscale_delay_s=draw(seconds),
        downscale_to_zero_delay_s=draw(seconds),
        drain_s=draw(seconds),
    )


demands = st.builds(
    Demand,
    replicas=st.integers(0, 40),
    target=st.integers(0, 50),
    running=st.floats(0, 1000),
    waiting=st.floats(0, 1000),
    routed=st.floats(0, 1000),
    waiting_tokens=st.floats(0, 1e6),
    kv_use=st.floats(0, 1),
    finished_per_s=st.floats(0, 100),
)
histories = st.lists(st.tuples(st.floats(0.1, 200), demands), min_size=1, max_size=30)


def follow(rule, history, target=1):
    """What is asked for after each step, where all that was asked for runs at once."""
    memory, now, asked = {}, 1000.0, []
    for seconds, demand in history:
        now += seconds
        demand = replace(demand, target=target, replicas=min(demand.replicas, target))
        target, memory = desired(demand, rule, memory, now)
        memory = json.loads(json.dumps(memory))
        asked.append(target)
    return asked


@settings(deadline=None)
@given(rules(), histories, st.integers(0, 60))
def test_the_bounds_are_always_kept(rule, history, target):
    assert all(rule.min_replicas <= n <= rule.max_replicas for n in follow(rule, history, target))


@settings(deadline=None)
@given(rules(), histories)
def test_the_memory_stays_small_and_is_json(rule, history):
    memory, now = {}, 0.0
    for seconds, demand in history * 3:
        now += seconds
        _, memory = desired(demand, rule, memory, now)
        assert json.loads(json.dumps(memory)) == memory
    assert len(memory) <= 16


@given(
    rules(),
    demands,
    st.sampled_from(["running", "waiting", "routed", "waiting_tokens", "kv_use", "replicas"]),
    st.floats(1, 10),
)
def test_more_demand_never_needs_fewer(rule, demand, term, factor):
    more = replace(demand, **{term: type(getattr(demand, term))(getattr(demand, term) * factor)})
    assert needed(more, rule) >= needed(demand, rule)
    assert desired(more, rule, {}, 0.0)[0] >= desired(demand, rule, {}, 0.0)[0]


@settings(deadline=None)
@given(rules(), histories, st.floats(1, 5))
def test_more_demand_at_every_moment_never_asks_for_fewer(rule, history, factor):
    rule = replace(rule, upscale_delay_s=0.0)
    # The KV term counts what runs, which is not the same in two histories.
    history = [(s, replace(d, kv_use=0.0)) for s, d in history]
    more = [
        (s, replace(d, running=d.running * factor, waiting_tokens=d.waiting_tokens * factor))
        for s, d in history
    ]
    for small, large in zip(follow(rule, history), follow(rule, more), strict=True):
        assert large >= small


def work_in_batches(demand):
    """Without what waits, whose weight depends on the engines' pace."""
    return replace(demand, waiting=0.0, routed=0.0)


@settings(deadline=None, max_examples=40)
@given(rules(), demands, st.integers(0, 40), st.integers(10, 30))
def test_a_constant_demand_settles_and_stays(rule, demand, target, step):
    """However it starts: after the longest delay one number is asked for, and stays."""
    demand = replace(demand, kv_use=0.0)
    longest = rule.upscale_delay_s + 1.1 * rule.downscale_delay_s + rule.downscale_to_zero_delay_s
    steps = math.ceil((longest + 10 * SPEED_S) / step) + 2
    asked = follow(rule, [(step, demand)] * (steps + 20), target)
    assert len(set(asked[steps:])) == 1
    low, high = needed(work_in_batches(demand), rule), needed(demand, rule)
    assert asked[-1] >= min(max(low, rule.min_replicas), rule.max_replicas)
    assert asked[-1] <= min(max(high, rule.min_replicas), rule.max_replicas)


@settings(deadline=None, max_examples=40)
@given(rules(), demands)
def test_it_turns_at_most_once_on_the_way_to_a_constant_demand(rule, demand):
    asked = follow(rule, [(5, replace(demand, kv_use=0.0))] * 200, 20)
    changes = [b - a for a, b in pairwise(asked) if a != b]
    assert len({change > 0 for change in changes}) <= 1


@settings(deadline=None)
@given(rules(), histories)
def test_it_never_asks_for_fewer_than_what_runs_needs(rule, history):
    """At once where there is no delay, and never by letting go of what is needed."""
    memory, now, target = {}, 0.0, 3
    for seconds, demand in history:
        now += seconds
        demand = replace(demand, target=target, replicas=min(demand.replicas, target))
        need = min(needed(work_in_batches(demand), rule), rule.max_replicas)
        before, (target, memory) = target, desired(demand, rule, memory, now)
        assert target >= min(before, need)
        if rule.upscale_delay_s == 0:
            assert target >= need


@settings(deadline=None, max_examples=40)
@given(histories)
def test_replicas_that_start_are_not_asked_for_twice(history):
    """The same demand, seen again and again through a cold start, asks for the same number."""
    for _, demand in history:
        demand = replace(demand, replicas=1, target=1, kv_use=0.0)
        first, memory = desired(demand, RULE, {}, 0.0)
        for now in range(1, 60):
            again, memory = desired(replace(demand, target=first), RULE, memory, float(now))
            assert again == first


@given(demands, st.floats(0, 5000))
def test_one_goes_only_after_the_window(demand, later):
    assume(abs(later - 300) > 31)  # a slot's width, which the window may be longer by
    high = replace(demand, target=40, replicas=40, running=400.0, waiting=0, routed=0)
    high = replace(high, kv_use=0.0, waiting_tokens=0.0)
    _, memory = desired(high, RULE, {}, 10_000.0)
    low = replace(high, running=100.0)
    asked, _ = desired(low, RULE, memory, 10_000.0 + later)
    assert asked == (40 if later < 300 else 10)


def test_it_follows_the_peak_of_the_window_down():
    history = [(10, Demand(0, 0, running=max(0, 400 - 5 * i))) for i in range(60)]
    asked = follow(RULE, history)
    assert asked[0] == 40
    assert asked == sorted(asked, reverse=True)
    for i in range(35, 60):
        assert needed(history[i - 30][1], RULE) <= asked[i] <= needed(history[i - 34][1], RULE)


def test_to_zero_only_after_its_delay_with_nothing_asked():
    asked = follow(ZERO, [(1, Demand(1, 1, running=3.0)), *[(30, Demand(1, 1))] * 40])
    assert asked.index(0) == 30
    assert set(asked[30:]) == {0}


def test_a_single_request_within_the_delay_keeps_the_last_replica():
    quiet = [(30, Demand(1, 1))] * 29
    asked = follow(ZERO, [*quiet, (30, Demand(1, 1, routed=1.0)), *quiet])
    assert 0 not in asked


@given(st.floats(0, 1e6), rules())
def test_what_waits_for_a_wake_up_is_answered_at_once(now, rule):
    asked, _ = desired(Demand(0, 0, routed=1.0), replace(rule, min_replicas=0), {}, now)
    assert asked >= 1


def test_nothing_asked_starts_nothing():
    assert follow(ZERO, [(30, Demand(0, 0))] * 50, target=0) == [0] * 50


def test_a_fresh_memory_lets_nothing_go():
    """A controller that restarts knows no peaks: what was asked for is taken for needed."""
    asked, memory = desired(Demand(40, 40, running=10.0), RULE, {}, 5000.0)
    assert asked == 40
    assert desired(Demand(40, 40, running=10.0), RULE, memory, 5290.0)[0] == 40
    assert desired(Demand(40, 40, running=10.0), RULE, memory, 5340.0)[0] == 1


def test_a_need_must_stand_for_the_upscale_delay():
    rule = replace(RULE, upscale_delay_s=20)
    blip = [(5, Demand(1, 1, running=r)) for r in (5, 100, 100, 5, 100, 100, 100, 100, 100)]
    assert follow(rule, blip) == [1, 1, 1, 1, 1, 1, 1, 1, 10]


@pytest.mark.parametrize(
    ("demand", "replicas"),
    [
        (Demand(2, 2, running=25.0), 3),
        (Demand(2, 2, running=10.0, waiting=10.0, routed=10.0), 3),
        (Demand(2, 2, running=2.0, waiting=2.0, waiting_tokens=6001.0), 7),
        (Demand(4, 6, running=2.0, kv_use=1.0), 5),
        (Demand(4, 4), 0),
    ],
)
def test_the_largest_term_is_what_is_needed(demand, replicas):
    assert needed(demand, RULE) == replicas


def test_what_waits_counts_by_the_pace_that_the_engines_have_shown():
    """A queue of 300 at 2 requests/s and replica: 15 s work off 30 of them, not 10."""
    rule = replace(RULE, drain_s=15)
    working = Demand(4, 4, running=40.0, finished_per_s=8.0)
    _, memory = desired(working, rule, {}, 0.0)
    crowd = replace(working, waiting=300.0)
    assert desired(crowd, rule, memory, 1.0)[0] == 4 + 300 / (15 * 2)
    unknown = replace(crowd, finished_per_s=0.0)
    assert desired(unknown, rule, {}, 1.0)[0] == 4 + 300 / 10


def test_an_idle_engine_is_not_a_slow_one():
    rule = replace(RULE, drain_s=15)
    _, memory = desired(Demand(4, 4, running=40.0, finished_per_s=8.0), rule, {}, 0.0)
    for now in range(1, 10_000, 100):
        _, memory = desired(Demand(4, 4), rule, memory, float(now))
    assert desired(Demand(4, 4, waiting=300.0), rule, memory, 10_001.0)[0] == 300 / (15 * 2)


def test_a_half_full_replica_shows_its_whole_pace():
    rule = replace(RULE, drain_s=15)
    _, memory = desired(Demand(4, 4, running=20.0, finished_per_s=4.0), rule, {}, 0.0)
    assert desired(Demand(4, 4, waiting=300.0), rule, memory, 1.0)[0] == 300 / (15 * 2)


def test_a_mean_over_samples_is_no_more_than_it_means():
    assert needed(Demand(1, 1, running=0.1 * 3 * 100), RULE) == 3


def test_an_ingress_follows_its_decisions():
    rule = IngressScaling(max_replicas=8).rule()
    assert desired(Demand(1, 1, running=20, decisions_per_s=170.0), rule, {}, 0.0)[0] == 4


def test_the_settings_are_the_rule():
    rule = Autoscaling(min_replicas=0, max_replicas=4, target_waiting_tokens=99).rule()
    assert (rule.min_replicas, rule.max_replicas, rule.target_waiting_tokens) == (0, 4, 99)
    assert rule.target_decisions_per_s == math.inf
