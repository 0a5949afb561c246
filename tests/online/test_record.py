"""The log's lines, through the gateway: one a request, whatever becomes of it."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from fastapi import Request
from ray.serve.llm.openai_api_models import ChatCompletionRequest

from serve.online.upstreams.base import ExpertFailed
from tests.online.test_dispatch import DONE, HANG, USAGE, event
from tests.online.test_gateway import CASCADE, CHAT, made, whole

__all__ = ["made"]  # a fixture

STREAM = [event("a"), event("b"), USAGE, DONE]
DECIDED = {"router", "objective", "rule", "guarded", "novelty", "experts", "decision_ms"}
ANSWERED = {"ttft_s", "counted", "usage", "cost_usd", "cost_usd_priciest", "cost_usd_best_single"}


@pytest.fixture
def logged(made, tmp_path):
    """An application that keeps a log, and the only line that is in it."""
    file = tmp_path / "requests.jsonl"

    def make(**more):
        return made(records={"log": str(file)}, **more)

    def line():
        deadline = time.monotonic() + 10
        while not (text := file.read_text()).endswith("\n"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.05)  # were there a second one
        (only,) = file.read_text().splitlines()
        assert only + "\n" == text
        return json.loads(only)

    return make, line


def test_a_whole_routed_answer(logged):
    make, line = logged
    make().ask(routing={"tradeoff": 1.0, "max_latency_s": 9}, max_tokens=7, tools=[TOOL])
    record = line()
    assert record.keys() >= DECIDED | ANSWERED and "error" not in record
    assert (record["request_id"], record["endpoint"]) == ("r", "/chat/completions")
    assert (record["status"], record["key"], record["model"]) == (200, "local", "auto")
    assert record["wish"] == {"tradeoff": 1.0, "max_latency_s": 9.0} and record["max_tokens"] == 7
    assert record["needs"]["tools"] is True and record["needs"].keys() == {"tools", "extra_tokens"}
    assert record["rule"]["kind"] == "linear_cost" and record["rule"]["exchange"] == 1.0
    assert record["expert"] == "large" and record["tried"] == []  # small cannot call tools
    assert record["usage"] == {"input_tokens": 10, "output_tokens": 5} and record["counted"]
    assert record["ttft_s"] is None
    stages = {"queue", "batch_wait", "tokenise", "embed", "predict", "choose"}
    assert record["stages_ms"].keys() == stages
    assert sum(record["stages_ms"].values()) <= record["decision_ms"] + ROUNDED
    assert record["decision_ms"] <= record["seconds"] * 1000 + ROUNDED
    assert "messages" not in record


ROUNDED = 0.1
"""Milliseconds: the record's seconds have four digits."""
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def test_a_routed_stream_has_the_time_of_its_first_token(logged):
    make, line = logged
    make(small=STREAM, large=STREAM).ask(stream=True)
    record = line()
    assert record.keys() >= DECIDED | ANSWERED and record["counted"]
    assert 0 <= record["ttft_s"] <= record["seconds"]


def test_a_named_expert_was_not_decided(logged):
    make, line = logged
    make().ask(model="large")
    record = line()
    assert record.keys() >= ANSWERED and not DECIDED & record.keys()
    assert record["model"] == record["expert"] == "large" and record["wish"] == {}


def test_a_request_that_cannot_be_answered(logged):
    make, line = logged
    make().ask(routing={"deny": ["small", "large"]})
    record = line()
    assert record["status"] == 400 and "denied" in record["error"]
    assert record.keys() >= DECIDED and not ANSWERED & record.keys() and "expert" not in record
    assert {row["barred"] for row in record["experts"]} == {"is denied"}


def test_a_request_that_was_shed_was_not_even_read(logged):
    make, line = logged
    application = make(max_requests=1)
    application.gateway._under_way = 1
    application.ask()
    record = line()
    assert record["status"] == 429 and record["error"] == "Too many requests are under way"
    assert record.keys() == {"time", "request_id", "endpoint", "status", "seconds", "error"}


def test_a_stream_that_broke_off_is_a_200_with_an_error(logged):
    make, line = logged
    broken = [event("a"), ExpertFailed("died", fatal=True)]
    make(small=broken, large=broken).ask(stream=True)
    record = line()
    assert record["status"] == 200 and record["error"].endswith("failed: died")
    assert not record["counted"] and record["usage"]["output_tokens"] == 1


def test_who_failed_before_and_the_tiers_of_a_cascade(logged):
    make, line = logged
    make(small=[whole("small", -2.0)], cascade=CASCADE).ask()
    record = line()
    assert record["cascade"] == "small -2.000, large" and record["expert"] == "large"
    assert record["cost_usd"] == pytest.approx(165e-6)


def test_an_expert_that_failed_stands_before_the_one_that_answered(logged):
    make, line = logged
    make(small=[ExpertFailed("no route", fatal=True)]).ask(routing={"tradeoff": 1.0})
    record = line()
    assert record["tried"] == [["small", "no route"]] and record["expert"] == "large"


def asked(application, *, stream, read):
    """One request whose client goes: before the answer, or once it has read so many messages."""
    body = ChatCompletionRequest(messages=[{"role": "user", "content": "x"}], stream=stream)
    gone = asyncio.Event()

    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        nonlocal read
        read -= 1
        if read <= 0:
            gone.set()

    async def work():
        scope = {"type": "http", "method": "POST", "path": "/", "client": ("127.0.0.1", 1)}
        scope |= {"headers": [(b"x-request-id", b"r")], "asgi": {"spec_version": "2.3"}}
        if not read:
            asyncio.get_running_loop().call_later(0.05, gone.set)
        response = await application.gateway.answer(CHAT, body, Request(scope, receive))
        if read:
            await response(scope, receive, send)
        return response

    return asyncio.run(work())


def test_a_client_that_goes_before_its_answer_is_a_499(logged):
    make, line = logged
    assert asked(make(small=[HANG], large=[HANG]), stream=True, read=0).status_code == 499
    record = line()
    assert record["status"] == 499 and record["error"] == "The client went away"
    assert record.keys() >= DECIDED and not ANSWERED & record.keys()


def test_a_client_that_goes_within_a_stream_pays_for_what_came(logged):
    make, line = logged
    hangs = [event("a"), event("b"), HANG]
    asked(make(small=hangs, large=hangs, stall_s=30), stream=True, read=2)
    record = line()
    assert record["status"] == 200 and not record["counted"] and "error" not in record
    assert record["usage"]["output_tokens"] >= 1
