"""Three real nodes of a Ray cluster, one of which dies under load; the engines are fake.

loadtest/nodes.py does it with real engines, and to the GCS as well: 6 minutes.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import ray
from ray import serve
from ray.serve.llm.openai_api_models import ChatCompletionRequest
from starlette.requests import Request

from loadtest.cluster import Nodes
from serve.config import ExpertSettings, LimitSettings
from serve.errors import RequestError
from serve.online.account import Account, Prices
from serve.online.apis.chat import Chat
from serve.online.dispatch import Dispatcher
from serve.online.errand import Errand
from serve.online.fleet import Fleet
from serve.online.telemetry import Telemetry
from serve.online.upstreams.local import LocalExpert
from serve.protocol import Expert
from tests.online.fake_engine import DONE, FakeEngine

CHAT = Chat()
HEAD = {"num_cpus": 1, "resources": {"head": 1}, "include_dashboard": False}
WORKER = {"num_cpus": 1, "resources": {"worker": 1}}
# This process has imported Ray already, which has then made up its mind.
LIKE_HERE = {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "0", "RAY_SERVE_ENABLE_HA_PROXY": "0"}
SMALL, LARGE = "small", "large"
REQUESTS, EVERY_S, STRIKE_S = 120, 0.1, 4.0
AT_MOST_ELSEWHERE = 3
"""Where the machine is too busy for the living replica to say in time that it is well."""
DEADLINE_S = 20.0
BACK_S = 60.0


@pytest.fixture(scope="module")
def nodes():
    ray.shutdown()  # another test may have started one
    made = Nodes(None, LIKE_HERE, **HEAD)
    workers = [made.add(**WORKER), made.add(**WORKER)]
    ray.init(made.address, log_to_driver=False)
    serve.start(proxy_location="Disabled")
    yield made, workers
    serve.shutdown()
    ray.shutdown()
    made.stop()


def deploy(name, resources, count):
    made = serve.deployment(
        FakeEngine,
        name=name,
        num_replicas=count,
        max_ongoing_requests=100,
        ray_actor_options={"num_cpus": 0, "resources": resources},
    )
    return serve.run(made.bind(), name=name, route_prefix=None)


def replicas(name):
    deployment = serve.status().applications[name].deployments[name]
    return deployment.replica_states.get("RUNNING", 0)


class Client:
    """Asks SMALL, and LARGE where it fails; keeps how each request ended."""

    def __init__(self, handles):
        limits = LimitSettings(first_token_s=5.0, stall_s=5.0)
        settings = [ExpertSettings(id=name, model="m") for name in handles]
        upstreams = {name: LocalExpert(handle) for name, handle in handles.items()}
        self.fleet = Fleet(settings, upstreams, limits, Telemetry("test"))
        self.dispatcher = Dispatcher(self.fleet, limits, Telemetry("test"))
        self.prices = Prices([Expert(name, 1.0, 1.0) for name in handles])
        self.ended = []

    async def one(self):
        asked = time.monotonic()
        body = ChatCompletionRequest(messages=[{"role": "user", "content": "x"}], stream=True)
        request = Request({"type": "http", "headers": []})
        deadline = asyncio.get_running_loop().time() + DEADLINE_S
        errand = Errand(CHAT, body, request, deadline)
        expert = None
        try:
            opened = await self.dispatcher.open([(SMALL, 0.0), (LARGE, 0.0)], errand)
            expert = opened.expert
            account = Account(CHAT, body, expert, self.prices, expert)
            text = "".join([part async for part in self.dispatcher.relay(opened, errand, account)])
        except RequestError as error:
            text = str(error)
        self.ended.append((asked, time.monotonic(), expert, text))

    async def many(self):
        async with asyncio.TaskGroup() as group:
            for _ in range(REQUESTS):
                group.create_task(self.one())
                await asyncio.sleep(EVERY_S)


def test_a_node_that_dies_under_load_costs_only_the_streams_that_it_had_begun(nodes):
    cluster, workers = nodes
    handles = {SMALL: deploy(SMALL, {"worker": 1}, 2), LARGE: deploy(LARGE, {"head": 1}, 1)}
    client = Client(handles)
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(asyncio.run, client.many())
        time.sleep(STRIKE_S)
        struck = time.monotonic()
        cluster.kill(workers.pop())
        load.result()
    assert len(client.ended) == REQUESTS
    assert max(end - asked for asked, end, _, _ in client.ended) < DEADLINE_S
    whole = [each for each in client.ended if each[3].endswith(DONE) and '"error"' not in each[3]]
    broken = [each for each in client.ended if each not in whole]
    assert broken, "the node had nothing under way"
    for asked, _, expert, text in broken:
        assert asked < struck and expert == SMALL, (asked - struck, expert, text)
        assert text.startswith('data: {"choices"'), "nothing had reached the client"
        assert '"code":"expert_failed"' in text.replace(" ", "")
    elsewhere = [asked - struck for asked, _, expert, _ in whole if expert != SMALL]
    assert len(elsewhere) <= AT_MOST_ELSEWHERE, f"its other replica was there: {elsewhere}"
    workers.append(cluster.add(**WORKER))
    deadline = time.monotonic() + BACK_S
    while replicas(SMALL) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)
