"""On a real Redis, started here on a free port."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import time

import pytest
import redis

from serve.errors import SettingsError, TooManyRequests
from serve.online.access import Caller, Limits
from serve.online.counters import Total, days_ago
from serve.online.ledger import Ledger
from serve.online.redis_counters import checked_url, in_redis
from tests.online.test_ledger import TOTAL, FakeTelemetry

VARIABLE = "POINTSMAN_TEST_REDIS"
PASSWORD = "hunter2"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(folder):
    """A Redis; its URL, a client, and its process."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("no redis-server here: apt-get install redis-server")
    port = free_port()
    words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", PASSWORD]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([binary, *words, "--dir", folder], stdout=log, stderr=log)
    url = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
    client = redis.Redis.from_url(url)
    deadline = time.monotonic() + 20
    try:
        while True:
            try:
                client.ping()
                break
            except redis.RedisError:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.05)
        yield url, client, process
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("redis")) as redis_here:
        yield redis_here


@pytest.fixture
def url(server, monkeypatch):
    server[1].flushall()
    monkeypatch.setenv(VARIABLE, server[0])
    return server[0]


def test_two_gateways_share_the_limits(url):
    async def run():
        here, there = in_redis(VARIABLE), in_redis(VARIABLE)
        limits = Limits(requests_per_minute=5, tokens_per_minute=100)
        asked = [counters.admit("a", limits) for counters in (here, there) * 10]
        standings = await asyncio.gather(*asked)
        assert [s.refused for s in standings].count(None) == 5
        left = sorted(s.requests.remaining for s in standings if s.refused is None)
        assert left[0] == 0 and all(50 < s.requests.reset_s <= 60 for s in standings)
        assert (await there.admit("b", limits)).refused is None
        await here.add({}, {"b": (100, 130)})
        refused = await there.admit("b", limits)
        assert refused.refused == "tokens" and 50 < refused.retry_after <= 60

    asyncio.run(run())


def test_totals_add_up_and_budgets_see_them(url, server):
    today = days_ago(0)

    async def run():
        here, there = in_redis(VARIABLE), in_redis(VARIABLE)
        batch = {(today, "a", "org/x"): TOTAL, (today, "b", "org/x"): TOTAL}
        old = {(days_ago(3), "a", "org/x"): Total(2)}
        await asyncio.gather(*(counters.add(batch, {}) for counters in (here, there) * 5))
        await here.add(old, {})
        assert await there.since(today) == {
            place: Total(10, 70, 50, 2.5, 5.0, 1.25) for place in batch
        }
        assert (await there.since(days_ago(3)))[days_ago(3), "a", "org/x"] == Total(2)
        assert (await here.admit("a", Limits(usd_per_day=2.6))).refused is None
        assert (await here.admit("a", Limits(usd_per_day=2.5))).refused == "usd"

    asyncio.run(run())
    client = server[1]
    assert 39 * 86400 < client.ttl(f"pointsman:usage:{today}") <= 40 * 86400
    assert 39 * 86400 < client.ttl(f"pointsman:spent:{today}") <= 40 * 86400


def test_a_clock_that_jumps_back_is_forgotten_after_a_minute_of_rediss_own(url, server):
    async def run():
        await in_redis(VARIABLE).admit("a", Limits(requests_per_minute=1))

    asyncio.run(run())
    windows = list(server[1].scan_iter("*requests*"))
    assert len(windows) == 1 and 0 < server[1].ttl(windows[0]) <= 60


def test_a_redis_that_dies_refuses_nobody(tmp_path, monkeypatch):
    telemetry = FakeTelemetry()
    caller = Caller("a", limits=Limits(requests_per_minute=1))

    async def run(process):
        ledger = Ledger(in_redis(VARIABLE), telemetry)
        assert (await ledger.admit(caller))["x-ratelimit-remaining-requests"] == "0"
        with pytest.raises(TooManyRequests):
            await ledger.admit(caller)
        process.terminate()
        process.wait(10)
        ledger.charge(caller, "small", TOTAL)
        assert await ledger.admit(caller) == {}
        assert not await ledger.flush()

    with running(tmp_path) as (url, _, process):
        monkeypatch.setenv(VARIABLE, url)
        asyncio.run(run(process))
    assert telemetry.lost == 2


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, f"the environment variable {VARIABLE} is not set"),
        ("127.0.0.1:6379?hunter2", "holds no URL of the form redis://"),
        ("redis://:hunter2@127.0.0.1:1/0", "(no answer); start it, correct the variable, or leave"),
    ],
)
def test_a_start_without_redis_is_one_line_with_the_way_out(monkeypatch, value, told):
    if value is None:
        monkeypatch.delenv(VARIABLE, raising=False)
    else:
        monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(SettingsError) as refused:
        in_redis(VARIABLE)
    assert told in str(refused.value) and "hunter2" not in str(refused.value)


def test_a_wrong_password_is_said_to_be_one(url, monkeypatch):
    monkeypatch.setenv(VARIABLE, url.replace(PASSWORD, "hunter3"))
    with pytest.raises(SettingsError, match="it refuses the password") as refused:
        checked_url(VARIABLE)
    assert "hunter" not in str(refused.value)
