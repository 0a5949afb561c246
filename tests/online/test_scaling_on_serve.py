"""On a small real Ray Serve: our policy in its controller, over deployments that are fake."""

from __future__ import annotations

import asyncio
import time

import pytest
import ray
from ray import serve

from serve.config import Autoscaling, IngressScaling
from serve.online.scaling import Rate, scaled
from serve.online.upstreams.local import LocalExpert

SCALING = {"target_ongoing_requests": 2, "downscale_delay_s": 3, "downscale_to_zero_delay_s": 3}

START_S = 180
"""A replica imports vLLM, beside whatever else these cores do."""


@pytest.fixture(scope="module", autouse=True)
def small_serve():
    serve.shutdown()
    ray.shutdown()  # another test may have started one
    ray.init("local", num_cpus=4, include_dashboard=False, log_to_driver=False)
    serve.start(proxy_location="Disabled")
    yield
    serve.shutdown()
    ray.shutdown()


class FakeEngine:
    """Answers after a while; tells what a real one would."""

    def __init__(self):
        self.running = 0

    async def ask(self, seconds):
        self.running += 1
        await asyncio.sleep(seconds)
        self.running -= 1

    async def check_health(self):
        pass

    async def record_autoscaling_stats(self):
        return {"running": self.running}


class FakeIngress:
    def __init__(self):
        self.decisions = Rate()

    async def decide(self):
        self.decisions.happened()

    async def check_health(self):
        pass

    async def record_autoscaling_stats(self):
        return {"decisions_per_s": self.decisions.per_s()}


def deploy(fake, name, scaling):
    made = serve.deployment(
        fake,
        name=name,
        **scaled(scaling, 60),
        ray_actor_options={"num_cpus": 0},
        graceful_shutdown_wait_loop_s=0.1,
    )
    return serve.run(made.bind(), name=name, route_prefix=None)


def replicas(name):
    deployment = serve.status().applications[name].deployments[name]
    return deployment.replica_states.get("RUNNING", 0)


def until(name, count):
    deadline = time.monotonic() + START_S
    while replicas(name) != count:
        assert time.monotonic() < deadline, f"{replicas(name)} replicas, {count} expected"
        time.sleep(0.1)


def test_a_burst_brings_a_second_replica_which_goes_after_it():
    handle = deploy(FakeEngine, "burst", Autoscaling(max_replicas=2, **SCALING))
    assert replicas("burst") == 1
    answers = [handle.ask.remote(6) for _ in range(40)]
    deadline = time.monotonic() + START_S
    while replicas("burst") < 2:  # on busy cores it starts for longer than the burst would last
        assert time.monotonic() < deadline
        time.sleep(1)
        answers.append(handle.ask.remote(6))
    for answer in answers:
        answer.result(timeout_s=120)
    until("burst", 1)


def test_the_first_request_wakes_an_expert_that_a_look_lets_sleep():
    scaling = Autoscaling(min_replicas=0, max_replicas=2, **SCALING)
    handle = deploy(FakeEngine, "sleeper", scaling)
    expert = LocalExpert(handle, sleeps=True)

    async def look():
        return await expert.sleeping(), expert.asleep

    assert asyncio.run(look()) == (True, True)
    assert replicas("sleeper") == 0
    handle.ask.remote(0.1).result(timeout_s=60)
    assert replicas("sleeper") == 1
    assert asyncio.run(look()) == (False, False)
    until("sleeper", 0)
    assert asyncio.run(look()) == (True, True)


def test_an_ingress_scales_on_its_decisions():
    scaling = IngressScaling(max_replicas=3, target_decisions_per_s=4, downscale_delay_s=3)
    handle = deploy(FakeIngress, "ingress", scaling)
    deadline = time.monotonic() + START_S
    while replicas("ingress") < 2:
        assert time.monotonic() < deadline
        for answer in [handle.decide.remote() for _ in range(20)]:
            answer.result(timeout_s=60)
        time.sleep(0.5)  # the second one needs a core to start
    until("ingress", 1)
