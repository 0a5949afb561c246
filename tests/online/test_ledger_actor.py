"""On a small real Ray: what two replicas share, and what outlives one of them."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest
import ray

from serve.online import ledger_actor
from serve.online.access import Caller, Limits
from serve.online.counters import days_ago
from serve.online.ledger import Ledger
from serve.online.ledger_actor import NAMESPACE, ActorCounters, LedgerActor
from serve.online.metering import AccessTelemetry
from tests.online.test_ledger import TOTAL, FakeTelemetry

LIMITS = Limits(requests_per_minute=5)


@pytest.fixture(scope="module", autouse=True)
def small_ray():
    ray.shutdown()  # building a deployment in another test may have started one
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@ray.remote(num_cpus=0)
class Replica:
    """Another process with counters of its own making."""

    def __init__(self, application):
        self._counters = ActorCounters(application, watch_s=3600)

    async def admit(self, key):
        return (await self._counters.admit(key, LIMITS)).refused


def named(application):
    return [
        actor["name"]
        for actor in ray.util.list_named_actors(all_namespaces=True)
        if actor["namespace"] == NAMESPACE and f"-{application}-" in actor["name"]
    ]


def test_replicas_share_an_actor_that_outlives_the_one_which_made_it():
    first, second = (Replica.remote("shared") for _ in range(2))
    asked = [replica.admit.remote("a") for replica in (first, second) for _ in range(6)]
    assert ray.get(asked, timeout=120).count(None) == 5
    assert len(named("shared")) == 1
    ray.kill(first)
    ray.kill(second)
    time.sleep(1)

    async def run():
        counters = ActorCounters("shared", watch_s=3600)
        assert (await counters.admit("a", LIMITS)).refused == "requests"
        ledger = Ledger(counters, FakeTelemetry())
        ledger.charge(Caller("a"), "small", TOTAL)
        return await ledger.usage(1)

    assert asyncio.run(run())[0]["requests"] == 1


def test_applications_do_not_share():
    async def run():
        counters = ActorCounters("other", watch_s=3600)
        assert (await counters.admit("a", LIMITS)).refused is None

    asyncio.run(run())


def test_it_ends_itself_once_serve_does_not_know_the_application_and_is_made_anew():
    telemetry = FakeTelemetry()
    caller = Caller("a", limits=Limits(requests_per_minute=1000))

    async def run():
        counters = ActorCounters("brief", watch_s=0.2, gone_s=0.5)
        await counters.add({(days_ago(0), "a", "small"): TOTAL}, {})
        deadline = time.monotonic() + 120
        while named("brief"):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)
        counters._options["watch_s"] = 3600
        ledger = Ledger(counters, telemetry)
        assert await ledger.admit(caller) == {}
        assert telemetry.lost == 1
        while True:
            assert time.monotonic() < deadline
            if headers := await ledger.admit(caller):
                return headers
            await asyncio.sleep(0.3)

    assert asyncio.run(run())["x-ratelimit-limit-requests"] == "1000"


def test_it_stays_while_serve_knows_the_application_or_does_not_answer(monkeypatch):
    looks, killed = iter([["a"], None, ["a"], [], ["a"], None, [], None, []]), []

    def status():
        names = next(looks)
        if names is None:
            raise ConnectionError("no controller now")
        return SimpleNamespace(applications=dict.fromkeys(names))

    monkeypatch.setattr(ledger_actor.serve, "status", status)
    monkeypatch.setattr(ledger_actor.ray, "kill", killed.append)
    monkeypatch.setattr(
        ledger_actor.ray, "get_runtime_context", lambda: SimpleNamespace(current_actor="itself")
    )

    async def run():
        actor = LedgerActor("a", watch_s=0.01, gone_s=0.02)
        await actor.ready()
        async with asyncio.timeout(10):
            await actor._watching

    asyncio.run(run())
    assert killed == ["itself"] and next(looks, "all looked at") == "all looked at"


def test_rays_metrics_take_what_is_counted():
    telemetry = AccessTelemetry()
    telemetry.used("a", "org/small", 0, 5, 0.0)
    telemetry.used("a", "org/small", 3, 5, 0.25)
    telemetry.turned_away("usd")
    telemetry.ledger_lost()
