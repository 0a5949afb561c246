from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from loadtest.scaling import cluster, traces
from loadtest.scaling.engines import ENGINES, Engine, fit, load
from loadtest.scaling.policies import Ours, RayServe, Seen
from loadtest.scaling.run import Outcome, run
from loadtest.scaling.traces import Trace, trace
from loadtest.simulate import Point, hours_at
from serve.config import Autoscaling
from serve.routing.scaling import Demand

ENGINE = Engine(
    step_s=0.02,
    step_slope_s=0.001,
    prefill_s=0.0001,
    max_batch=4,
    kv_tokens=100_000,
    first_token_s=2.0,
    token_s=0.1,
)


def fixed(replicas):
    return lambda seen: replicas


def simulated(arrive, engine=ENGINE, replicas=1, prompt=1000.0, output=11.0):
    n = len(arrive)
    state = cluster.empty(
        np.array(arrive), np.full(n, prompt), np.full(n, output), np.zeros((n, 2)), engine, 8
    )
    for replica in range(replicas):
        cluster.start(state, replica, 0.0)
    cluster.advance(state, 1e6)
    return state


def test_one_request_takes_its_prompt_and_its_steps():
    state = simulated([1.0])
    assert state.first[0] == pytest.approx(1.0 + 1000 * 0.0001)
    assert state.end[0] == pytest.approx(state.first[0] + 10 * 0.021)


def test_two_together_share_the_steps_and_hold_each_other_up():
    state = simulated([1.0, 1.0])
    assert state.first == pytest.approx([1.1, 1.2])
    assert state.end == pytest.approx([1.2 + 10 * 0.022] * 2)


def test_a_full_batch_makes_the_next_wait_in_order():
    state = simulated([1.0 + i * 1e-3 for i in range(9)])
    assert np.all(np.diff(state.first) > 0)
    assert state.first[4] > state.end[0]
    assert not np.isnan(state.end).any()


def test_a_full_kv_cache_makes_the_next_wait():
    state = simulated([1.0, 1.0], replace(ENGINE, kv_tokens=1500))
    assert state.first[1] == pytest.approx(state.end[0] + 0.1)


def test_requests_wait_for_a_replica_to_wake_up():
    arrive = np.array([1.0, 2.0])
    state = cluster.empty(arrive, arrive * 0 + 10, arrive * 0 + 2, np.zeros((2, 2)), ENGINE, 4)
    cluster.start(state, 0, 50.0)
    cluster.advance(state, 49.0)
    assert state.count[cluster.UNSERVED] == 2
    cluster.advance(state, 100.0)
    assert np.all(state.first > 50) and np.all(state.end < 51)


def test_a_replica_that_goes_finishes_what_it_has():
    arrive = np.array([1.0, 1.0])
    state = cluster.empty(arrive, arrive * 1000, arrive * 11, np.zeros((2, 2)), ENGINE, 4)
    cluster.start(state, 0, 0.0)
    cluster.advance(state, 1.1)
    cluster.stop(state, 0)
    cluster.advance(state, 10.0)
    assert not np.isnan(state.end).any()
    assert state.phase[0] == cluster.ABSENT


def test_a_replica_that_never_ran_dry_answers_as_fast_as_its_engine():
    """Throughput of a full batch: a request costs its prefill and its share of the steps."""
    state = simulated(np.zeros(400).tolist(), output=101.0)
    rate = 400 / state.end.max()
    assert rate == pytest.approx(1 / (0.1 + 100 * 0.024 / 4), rel=0.02)


@pytest.mark.parametrize("name", json.loads(ENGINES.read_text()))
def test_the_fit_gives_back_the_measurement(name):
    measured = json.loads(ENGINES.read_text())[name]
    step, slope, prefill = fit(measured)
    engine = load(ENGINES, name)
    assert (step, slope, prefill) == (engine.step_s, engine.step_slope_s, engine.prefill_s)
    clients = np.array(measured["clients"])
    a_step = (measured["output_tokens"] - 1) * (step + slope * clients) / clients
    rate = 1 / (measured["prompt_tokens"] * prefill + a_step)
    assert rate * measured["output_tokens"] == pytest.approx(
        np.array(measured["output_tokens_per_s"]), rel=0.1
    )


@pytest.mark.parametrize("name", traces.TRACES)
def test_a_trace_is_its_seed_and_has_the_tokens_of_its_source(name):
    one, other = (trace(name, 2.0, np.random.default_rng(5), 7200) for _ in range(2))
    assert np.array_equal(one.arrive, other.arrive)
    assert np.all(np.diff(one.arrive) >= 0) and one.arrive[-1] < 7200
    assert np.mean(one.prompt) == pytest.approx(1155, rel=0.05)
    assert np.mean(one.output) == pytest.approx(211, rel=0.1)


def test_a_crowd_is_ten_times_the_calm():
    rate = traces.flash(10_800, np.random.default_rng(1))
    assert set(rate) == {1.0, 10.0}
    assert (rate == 10).sum() == 1200


def seen(now, ongoing, replicas=2, target=2):
    return Seen(now, Demand(replicas, target, running=ongoing), ongoing)


def test_rays_function_keeps_its_delays_by_the_simulated_clock():
    policy = RayServe(max_replicas=50, target_ongoing_requests=10)
    asked = [policy(seen(now, 100.0)) for now in range(0, 40, 10)]
    assert asked == [2, 2, 2, 10]
    asked = [policy(seen(now, 10.0, 10, 10)) for now in range(1000, 1610, 10)]
    assert asked[:-1] == [10] * 60 and asked[-1] == 1


def test_ours_is_the_policy_itself():
    assert Ours(Autoscaling(max_replicas=50, target_ongoing_requests=10))(seen(0, 95.0)) == 10


def even(rate, seconds, seed=0):
    random = np.random.default_rng(seed)
    arrive = np.sort(random.uniform(0, seconds, int(rate * seconds)))
    return Trace(seconds, arrive, np.full(len(arrive), 1000.0), np.full(len(arrive), 200.0))


def test_an_even_load_does_not_flap():
    """In two hours of Poisson arrivals the target moves between neighbours, and seldom."""
    engine = load(ENGINES, "mistral-7b-rtx4090")
    policy = Ours(Autoscaling(max_replicas=50, target_ongoing_requests=8))
    asked = []

    def recorded(seen):
        asked.append(policy(seen))
        return asked[-1]

    run(even(8.0, 7200), engine, recorded, np.random.default_rng(0), 100)
    settled = asked[60:]
    assert max(settled) - min(settled) <= 3
    assert np.count_nonzero(np.diff(settled)) < len(settled) / 10


def test_replica_hours_and_attainment_of_a_fixed_fleet():
    outcome = run(even(1.0, 4500), ENGINE, fixed(6), np.random.default_rng(0), 20)
    assert outcome.replica_hours == pytest.approx(6 * (4500 - 900) / 3600, rel=0.01)
    assert outcome.attainment == 1.0
    crowded = run(even(1.0, 4500), ENGINE, fixed(1), np.random.default_rng(0), 20)
    assert crowded.attainment < 0.1


def point(attained, hours):
    return Point(1, [Outcome(requests=1000, inside=int(attained * 1000), replica_s=hours * 3600)])


def test_hours_at_equal_attainment_lie_on_the_lower_edge():
    points = [point(0.9, 10), point(0.8, 12), point(1.0, 20), point(0.95, 30)]
    assert hours_at(0.95, points) == pytest.approx(15)
    assert hours_at(0.9, points) == 10
    assert np.isnan(hours_at(0.95, points[:2]))
