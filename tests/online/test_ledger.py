from __future__ import annotations

import asyncio
import logging

import pytest

from serve.errors import LedgerUnavailable, TooManyRequests
from serve.online import ledger as module
from serve.online.access import Caller, Limits
from serve.online.counters import Total, in_memory
from serve.online.ledger import Ledger
from tests.online.clock import fake_clock
from tests.waiting import seen

LIMITED = Caller("alice", limits=Limits(requests_per_minute=2, tokens_per_minute=1000))
TOTAL = Total(1, 7, 5, 0.25, 0.5, 0.125)


class FakeTelemetry:
    def __init__(self):
        self.reasons, self.usage, self.lost = [], [], 0

    def used(self, *answer):
        self.usage.append(answer)

    def turned_away(self, reason):
        self.reasons.append(reason)

    def ledger_lost(self):
        self.lost += 1


class Broken:
    """Counters that fail, or never answer."""

    def __init__(self, hangs=False):
        self.calls, self.hangs, self.well = 0, hangs, in_memory()
        self.broken = True

    async def _ask(self, method, *arguments):
        self.calls += 1
        if not self.broken:
            return await getattr(self.well, method)(*arguments)
        if self.hangs:
            await asyncio.sleep(60)
        raise ConnectionError("redis://:hunter2@host is gone")

    async def admit(self, *arguments):
        return await self._ask("admit", *arguments)

    async def add(self, *arguments):
        return await self._ask("add", *arguments)

    async def since(self, *arguments):
        return await self._ask("since", *arguments)


@pytest.fixture
def telemetry():
    return FakeTelemetry()


def test_a_caller_without_limits_asks_nobody(telemetry):
    counters = Broken()
    assert asyncio.run(Ledger(counters, telemetry).admit(Caller("bob"))) == {}
    assert counters.calls == 0


def test_headers_and_refusals_have_openais_form(telemetry, monkeypatch):
    clock = fake_clock(monkeypatch)

    async def run():
        ledger = Ledger(in_memory(), telemetry)
        headers = await ledger.admit(LIMITED)
        assert headers == {
            "x-ratelimit-limit-requests": "2",
            "x-ratelimit-remaining-requests": "1",
            "x-ratelimit-reset-requests": "60s",
            "x-ratelimit-limit-tokens": "1000",
            "x-ratelimit-remaining-tokens": "1000",
            "x-ratelimit-reset-tokens": "0s",
        }
        clock.pass_(18.5)
        await ledger.admit(LIMITED)
        with pytest.raises(TooManyRequests) as refused:
            await ledger.admit(LIMITED)
        return refused.value

    error = asyncio.run(run())
    assert str(error) == "The key alice has used up its 2 requests a minute; it frees in 42 s."
    assert (error.status, error.type, error.code) == (429, "requests", "rate_limit_exceeded")
    assert error.retry_after_s == 41.5
    assert error.headers["x-ratelimit-remaining-requests"] == "0"
    assert telemetry.reasons == ["requests"]


def test_tokens_and_budgets_are_refused_by_their_names(telemetry, monkeypatch):
    fake_clock(monkeypatch)
    poor = Caller("poor", limits=Limits(usd_per_day=0.25))
    brief = Caller("brief", limits=Limits(tokens_per_minute=12))

    async def run():
        ledger = Ledger(in_memory(), telemetry)
        for caller in (poor, brief):
            ledger.charge(caller, "small", TOTAL)
        assert await ledger.flush()
        with pytest.raises(TooManyRequests) as spent:
            await ledger.admit(poor)
        with pytest.raises(TooManyRequests) as talked:
            await ledger.admit(brief)
        return spent.value, talked.value

    spent, talked = asyncio.run(run())
    assert (spent.type, spent.code) == ("insufficient_quota", "insufficient_quota")
    assert "0.25 US dollars a day; it frees in 12 h 1 min, at midnight UTC" in str(spent)
    assert (talked.type, talked.code) == ("tokens", "rate_limit_exceeded")
    assert telemetry.reasons == ["usd", "tokens"]


def test_what_answers_took_is_sent_soon_in_one_batch_and_told_by_day(telemetry, monkeypatch):
    monkeypatch.setattr(module, "FLUSH_S", 0.05)
    counters = Broken()
    counters.broken = False

    async def run():
        ledger = Ledger(counters, telemetry)
        for _ in range(3):
            ledger.charge(LIMITED, "small", TOTAL)
        ledger.charge(Caller("bob"), "large", TOTAL)
        assert counters.calls == 0
        await seen(lambda: counters.calls == 1)
        ledger.charge(LIMITED, "small", TOTAL)  # the sender starts anew
        return await ledger.usage(1), await ledger.usage(1, "bob")

    everybody, bob = asyncio.run(run())
    assert [row["key"] for row in everybody] == ["alice", "bob"] and bob == everybody[1:]
    row = everybody[0]
    assert (row["expert"], row["requests"]) == ("small", 4)
    assert (row["input_tokens"], row["output_tokens"]) == (28, 20)
    costs = (row["cost_usd"], row["cost_usd_priciest"], row["cost_usd_best_single"])
    assert costs == (1.0, 2.0, 0.5)
    assert telemetry.usage[0] == ("alice", "small", 7, 5, 0.25) and len(telemetry.usage) == 5


@pytest.mark.parametrize("hangs", [False, True])
def test_lost_counters_refuse_nobody_and_are_told_once_a_minute(
    telemetry, monkeypatch, caplog, hangs
):
    monkeypatch.setattr(module, "ADMIT_S", 0.05)
    counters = Broken(hangs)

    async def run():
        ledger = Ledger(counters, telemetry)
        for _ in range(5):
            assert await ledger.admit(LIMITED) == {}
        return ledger

    # Ray's loggers pass nothing on to the root, where caplog listens.
    monkeypatch.setattr(module.logger, "handlers", [caplog.handler])
    monkeypatch.setattr(module.logger, "propagate", False)
    with caplog.at_level(logging.DEBUG, "ray.serve"):
        asyncio.run(run())
    assert telemetry.lost == 5
    assert counters.calls == 1  # after one failure nobody waits for a second
    assert caplog.text.count("limits are off") == 1 and "hunter2" not in caplog.text


def test_what_could_not_be_sent_is_kept_and_sent_later(telemetry, monkeypatch):
    monkeypatch.setattr(module, "FLUSH_S", 0.02)
    counters = Broken()

    async def run():
        ledger = Ledger(counters, telemetry)
        ledger.charge(LIMITED, "small", TOTAL)
        await seen(lambda: telemetry.lost >= 2)
        ledger.charge(LIMITED, "small", TOTAL)
        with pytest.raises(LedgerUnavailable):
            await ledger.usage(1)
        counters.broken = False
        lost = counters.calls
        await seen(lambda: counters.calls > lost)
        return await ledger.usage(1)

    assert asyncio.run(run())[0]["requests"] == 2
    assert telemetry.lost >= 3
