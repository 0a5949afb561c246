"""auto: decided in batches by the trained router, dispatched to both experts."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from tests.e2e.conftest import EXPERTS, ROOT

MEMORY_LIMIT = 13 * 2**30
CONCURRENT = 64
EXPORT_S = 12
"""Ray exports metrics every 10 s."""


def prompts():
    lines = (ROOT / "deployments/local/prompts.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [row["prompt"] for row in rows if row["split"] == "test" and "prompt" in row]


def metric(application, name: str) -> float:
    """Sum of a counter over its series, once Ray has exported it."""
    text = application.get("/metrics")[1]
    return sum(float(v) for v in re.findall(rf"^ray_{name}\{{.*\}} (\S+)$", text, re.MULTILINE))


def settled(application) -> tuple[float, float]:
    """Decisions and forward passes, read once Ray has exported all there was."""
    before = None
    while (now := counters(application)) != before:
        before = now
        time.sleep(EXPORT_S)
    return now


def counters(application) -> tuple[float, float]:
    return (
        metric(application, "pointsman_decisions_total"),
        metric(application, "pointsman_encoder_passes_total"),
    )


def test_64_concurrent_requests_share_forward_passes_and_use_both_experts(application):
    decided, passes = settled(application)

    def ask(prompt):
        body = {"model": "auto", "messages": [{"role": "user", "content": prompt}], "max_tokens": 8}
        return application.post("/v1/chat/completions", body)

    with ThreadPoolExecutor(CONCURRENT) as pool:
        answers = list(pool.map(ask, prompts()[:CONCURRENT]))
    assert [status for status, _, _ in answers] == [200] * CONCURRENT
    picks = Counter(headers["x-pointsman-expert"] for _, _, headers in answers)
    assert set(picks) == set(EXPERTS)
    assert all(body["model"] == headers["x-pointsman-expert"] for _, body, headers in answers)
    after, passes_after = settled(application)
    used = passes_after - passes
    print(f"{CONCURRENT} concurrent requests: {used:.0f} forward passes, {dict(picks)}")
    assert after - decided == CONCURRENT
    assert 1 <= used < CONCURRENT


def test_route_answers_the_decision_that_the_headers_tell(application):
    for prompt in prompts()[:8]:
        messages = [{"role": "user", "content": prompt}]
        status, decision, _ = application.post("/v1/route", {"messages": messages})
        assert status == 200
        assert {row["id"] for row in decision["experts"]} == set(EXPERTS)
        best = max(decision["experts"], key=lambda row: row["utility"])
        assert decision["pick"] == best["id"]
        assert decision["guarded"] == (decision["novelty"] >= 1)
        for row in decision["experts"]:
            assert 0 <= row["quality"] <= 1
            assert row["cost_usd"] > 0
        body = {"model": "auto", "messages": messages, "max_tokens": 1}
        _, _, headers = application.post("/v1/chat/completions", body)
        assert headers["x-pointsman-router"] == decision["router"]


def test_earlier_turns_are_read(application):
    last = {"role": "user", "content": "And another one?"}
    one = application.post("/v1/route", {"messages": [last]})[1]
    turns = [
        {"role": "user", "content": "Write a Python function that reverses a list."},
        {"role": "assistant", "content": "def reverse(items): return items[::-1]"},
        last,
    ]
    assert application.post("/v1/route", {"messages": turns})[1]["experts"] != one["experts"]


def test_an_experts_own_id_is_not_routed(application):
    for name in EXPERTS:
        body = {"model": name, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        _, answer, headers = application.post("/v1/chat/completions", body)
        assert answer["model"] == headers["x-pointsman-expert"] == name
        assert "x-pointsman-router" not in headers


def test_the_clients_request_id_comes_back(application):
    body = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    _, answer, headers = application.post("/v1/chat/completions", body, x_request_id="my-id-1")
    assert headers["x-request-id"] == "my-id-1"
    assert "my-id-1" in answer["id"]


def test_health_and_ready(application):
    assert application.get("/health")[0] == 200
    status, text = application.get("/ready")
    assert status == 200
    assert json.loads(text)["experts"] == dict.fromkeys(EXPERTS, True)


def test_metrics_carry_ours_and_vllms(application):
    text = application.get("/metrics")[1]
    for name in ("ray_pointsman_requests_total", "ray_pointsman_batch_size", "ray_vllm"):
        assert name in text


def test_the_whole_application_stays_under_its_memory_limit(application):
    total = 0
    for process in application.processes():
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    print(f"PSS of the whole application: {total / 2**30:.2f} GiB")
    assert total < MEMORY_LIMIT


def test_haproxy_is_the_front_and_listens_on_the_loopback_only(application):
    fronts = [p for p in application.processes() if p.name() == "haproxy"]
    assert fronts
    listening = [
        connection.laddr
        for process in fronts
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len({address.port for address in listening}) >= 3
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_http_ports_of_the_replicas_are_on_the_loopback_too(application):
    (port,) = {int(application.url.rsplit(":", 1)[1])}
    for process in application.processes():
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port in (
                port,
                *range(30000, 31001),
            ):
                assert connection.laddr.ip == "127.0.0.1", process.name()


def test_no_prompt_and_no_answer_is_in_the_log(application):
    marker = "xylophone-zebra-quartz"
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": f"Repeat after me: {marker}"}],
        "max_tokens": 16,
    }
    assert application.post("/v1/chat/completions", body)[0] == 200
    assert application.post("/v1/chat/completions", body | {"max_tokens": 10**6})[0] == 400
    told = application.file.with_suffix(".out").read_text()
    (log,) = re.findall(r"Log: (\S+)", told)
    assert marker not in Path(log).read_text() + told
