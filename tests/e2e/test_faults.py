"""Real engines, real faults: who leaves, what dies, and what the client sees of it."""

from __future__ import annotations

import http.client
import json
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.e2e.conftest import EXPERTS

CHAT = "/v1/chat/completions"
LONG = {"max_tokens": 1500, "min_tokens": 1500, "ignore_eos": True}
EXPORT_S = 12
BACK_S = 240
"""An engine needs about 45 s of two idle cores to start again; the others serve meanwhile."""


def body(model, **fields):
    messages = [{"role": "user", "content": "Count as far as you can."}]
    return {"model": model, "messages": messages} | fields


def of_engine(application, expert, name):
    """A metric of vLLM's as Ray last exported it; None: it did not."""
    text = application.get("/metrics")[1]
    found = re.findall(rf"^ray_vllm_{name}\{{.*{expert}.*\}} (\S+)$", text, re.M)
    return float(found[-1]) if found else None


def until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(1)


def request(application, fields):
    """A connection on which a request was sent; its answer is not read."""
    connection = http.client.HTTPConnection(application.url.removeprefix("http://"), timeout=120)
    headers = {"content-type": "application/json"}
    connection.request("POST", CHAT, json.dumps(fields), headers)
    return connection


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_client_that_leaves_ends_the_work_of_the_engine(application, stream):
    expert = EXPERTS[0]

    def running():
        return of_engine(application, expert, "num_requests_running")

    def written():
        return of_engine(application, expert, "generation_tokens_total")

    def steps():
        # vLLM sets its gauges in an engine's steps: an idle one keeps the last.
        assert application.post(CHAT, body(expert, max_tokens=1))[0] == 200
        return running()

    until(lambda: steps() == 0, 4 * EXPORT_S, "the engine is idle")
    before = written()
    connection = request(application, body(expert, stream=stream, **LONG))
    if stream:
        assert connection.getresponse().read(20)
    until(lambda: running() == 1, 4 * EXPORT_S, "the request runs")
    connection.close()
    until(lambda: steps() == 0, 4 * EXPORT_S, "the request has ended")
    assert written() - before < LONG["max_tokens"], "it ran to its end"


def test_a_slow_reader_holds_up_nobody(application):
    connection = request(application, body(EXPERTS[0], stream=True, max_tokens=64))
    answer = connection.getresponse()
    for _ in range(5):
        assert answer.read(1)
        time.sleep(1)
        assert application.post(CHAT, body(EXPERTS[0], max_tokens=1))[0] == 200
    rest = answer.read().decode()
    assert rest.endswith("data: [DONE]\n\n")
    connection.close()


def engine_of(application, expert):
    """The EngineCore process of an expert."""
    for process in application.processes():
        if expert in process.name() or any(expert in part for part in process.cmdline()):
            for child in process.children(recursive=True):
                if "EngineCore" in " ".join([child.name(), *child.cmdline()]):
                    return child
    pytest.fail(f"no engine of {expert}")


def events(answer):
    text = answer.read().decode()
    return [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")]


def test_the_engine_dies_mid_stream_and_the_other_expert_takes_over(application):
    expert, other = EXPERTS
    connection = request(application, body(expert, stream=True, **LONG))
    answer = connection.getresponse()
    assert answer.read(1)
    engine: psutil.Process = engine_of(application, expert)
    engine.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    *_, error, done = events(answer)
    assert json.loads(error)["error"]["code"] == "expert_failed"
    assert done == "[DONE]"

    def ask(_):
        return application.post(CHAT, body("auto", max_tokens=4))

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(12)))
    took = time.monotonic() - killed
    print(f"12 requests answered {took:.1f} s after the kill")
    assert [status for status, _, _ in answers] == [200] * 12, answers
    assert {headers["x-pointsman-expert"] for _, _, headers in answers} == {other}
    assert took < 30
    status, answer, headers = application.post(CHAT, body(expert, max_tokens=4))
    assert status == 503 and answer["error"]["code"] == "expert_unavailable"
    assert int(headers["retry-after"]) >= 1
    until(lambda: application.get("/ready")[0] == 200, BACK_S, "the expert is back")
    until(lambda: application.post(CHAT, body(expert, max_tokens=4))[0] == 200, 90, "and is asked")
    print(f"back {time.monotonic() - killed:.0f} s after the kill")
