"""One real expert that sleeps: the first request wakes it, a burst brings a second replica.

Runs after test_stop.py: the machine does not hold another application beside this one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
import time
import urllib.request

import aiohttp
import pytest

from loadtest.running import running
from tests.e2e.conftest import ROOT

EXPERT = "smollm2-135m"
BURST, TOKENS = 40, 128
WAIT_S = 120
WAKE_S = 300
GAUGE = re.compile(
    r'^ray_serve_autoscaling_target_replicas\{.*deployment="LLMServer:smollm2-135m".*\} (\S+)$',
    re.M,
)
HEALTHY = re.compile(
    r'^ray_serve_deployment_replica_healthy\{.*deployment="LLMServer:smollm2-135m".*\} 1', re.M
)


def alone(args):
    """Settings of the one expert, from none to two replicas of it."""
    args["experts"] = args["experts"][:1]
    scaling = {"min_replicas": 0, "max_replicas": 2, "target_ongoing_requests": 8}
    args["experts"][0]["autoscaling"] = scaling | {
        "downscale_delay_s": 10,
        # One replica stands for what is between the two: longer than two exports, to be seen.
        "downscale_to_zero_delay_s": 35,
        "wake_s": WAKE_S,
    }
    args["experts"][0]["engine"]["kv_cache_memory_bytes"] = 2**28
    args["router"].pop("artifact")
    args.pop("records", None)


class Metrics(threading.Thread):
    """Looks at /metrics once a second, as a Prometheus would."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.url, self.targets, self.healthy, self.over = f"{url}/metrics", [], [], False

    def run(self):
        while not self.over:
            text = ""
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(self.url, timeout=30) as answer,
            ):
                text = answer.read().decode()
            found = [int(float(value)) for value in GAUGE.findall(text)]
            self.targets += [n for n in found[-1:] if self.targets[-1:] != [n]]
            up = len(HEALTHY.findall(text))
            self.healthy += [up] if self.healthy[-1:] != [up] else []
            time.sleep(1)

    def until(self, condition, what):
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, (what, self.targets, self.healthy)
            time.sleep(0.5)

    def asked(self, *sequence):
        """Until so many replicas were asked for, in this order."""
        said = ",".join(map(str, sequence))
        self.until(lambda: said in ",".join(map(str, self.targets)), said)

    def up(self, count):
        """Until so many are seen to be up: exported every 10 s, so some are never seen."""
        self.until(lambda: self.healthy[-1:] == [count], f"{count} up")


@pytest.fixture(scope="module")
def application():
    with running(ROOT / "deployments/local.yaml", alone) as (url, _):
        watch = Metrics(url)
        watch.start()
        yield url, watch
        watch.over = True
        watch.join()


def body(tokens, **fields):
    messages = [{"role": "user", "content": "Tell a long story."}]
    return {
        "model": EXPERT,
        "messages": messages,
        "max_tokens": tokens,
        "min_tokens": tokens,
    } | fields


def post(url, asked):
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(asked).encode())
    request.add_header("content-type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=2 * WAKE_S) as answer:
            return answer.status, json.load(answer), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, json.load(error), error.headers


def test_the_first_request_is_answered_after_the_wake_up(application):
    url, watch = application
    watch.asked(0)
    status, answer, _ = post(url, body(4, model="auto", routing={"explain": True}))
    assert status == 200 and answer["usage"]["completion_tokens"] == 4
    (seen,) = answer["routing"]["experts"]
    assert seen["wake_s"] > 0 and seen["seconds"] >= seen["wake_s"]
    watch.asked(0, 1)


def test_a_burst_brings_a_second_replica_and_its_end_takes_it_away(application):
    url, watch = application

    async def ask(http):
        async with http.post(f"{url}/v1/chat/completions", json=body(TOKENS)) as answer:
            return answer.status

    async def burst():
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2 * WAKE_S)) as http:
            return await asyncio.gather(*(ask(http) for _ in range(BURST)))

    until = time.monotonic() + WAKE_S
    while 2 not in watch.healthy:  # a fast machine is done before the second one is up
        assert time.monotonic() < until, (watch.targets, watch.healthy)
        assert asyncio.run(burst()) == [200] * BURST
    watch.asked(1, 2, 1)


def test_asleep_again_it_tells_a_request_that_cannot_wait_when_to_come_back(application):
    url, watch = application
    watch.asked(2, 1, 0)
    watch.up(0)
    status, answer, headers = post(url, body(4, routing={"max_latency_s": 1}))
    assert status == 503 and int(headers["retry-after"]) > 1, answer
    status, answer, headers = post(url, body(4, model="auto", routing={"max_latency_s": 1}))
    assert status == 503 and answer["error"]["code"] == "expert_asleep"
    assert int(headers["retry-after"]) > 1
    print("targets", watch.targets, "healthy", watch.healthy)
