from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.online.access import Limits
from serve.online.counters import Total, days_ago, in_memory
from tests.online.clock import fake_clock

GAPS = st.lists(st.integers(0, 160).map(lambda quarters: quarters / 4), max_size=40)
DAY = "2027-01-15"


@pytest.fixture
def clock(monkeypatch):
    return fake_clock(monkeypatch)


def used(key, tokens, usd=0.0, expert="e", day=DAY):
    return {(day, key, expert): Total(1, tokens, 0, usd)}


@settings(max_examples=60)
@given(gaps=GAPS, limit=st.integers(1, 6))
def test_no_60_seconds_ever_hold_more_requests_than_the_limit(gaps, limit):
    async def run(clock):
        counters, admitted = in_memory(), []
        for gap in gaps:
            clock.pass_(gap)
            standing = await counters.admit("a", Limits(requests_per_minute=limit))
            if standing.refused is None:
                admitted.append(clock.now)
                assert standing.requests.remaining == limit - sum(
                    t > clock.now - 60 for t in admitted
                )
            else:
                assert standing.refused == "requests" and 0 <= standing.retry_after <= 60
                assert sum(t >= clock.now - 60 for t in admitted) == limit
        return admitted

    with pytest.MonkeyPatch.context() as patch:
        admitted = asyncio.run(run(fake_clock(patch)))
    for start in admitted:
        assert sum(start <= t <= start + 60 for t in admitted) <= limit


def test_a_refusal_says_when_it_is_worth_asking_again(clock):
    async def run():
        counters, limits = in_memory(), Limits(requests_per_minute=2)
        await counters.admit("a", limits)
        clock.pass_(20)
        await counters.admit("a", limits)
        clock.pass_(10)
        refused = await counters.admit("a", limits)
        assert refused.refused == "requests" and refused.retry_after == 30
        assert (await counters.admit("b", limits)).refused is None
        clock.pass_(30.5)
        assert (await counters.admit("a", limits)).refused is None

    asyncio.run(run())


def test_tokens_are_counted_after_the_answer_those_beyond_the_limit_too(clock):
    async def run():
        counters, limits = in_memory(), Limits(tokens_per_minute=100)
        assert (await counters.admit("a", limits)).tokens.remaining == 100
        await counters.add(used("a", 60), {"a": (100, 60)})
        assert (await counters.admit("a", limits)).tokens == (100, 40, 60.0)
        clock.pass_(10)
        await counters.add(used("a", 5000), {"a": (100, 5000)})
        refused = await counters.admit("a", limits)
        assert (refused.refused, refused.retry_after) == ("tokens", 50.0)
        clock.pass_(50)
        assert (await counters.admit("a", limits)).refused is None

    asyncio.run(run())


def test_a_budget_is_the_days_total_and_frees_at_midnight_utc(clock):
    async def run():
        counters, limits = in_memory(), Limits(requests_per_minute=9, usd_per_day=1.0)
        await counters.add(used("a", 1, 0.6), {})
        assert (await counters.admit("a", limits)).refused is None
        await counters.add(used("a", 1, 0.4, expert="f"), {})
        refused = await counters.admit("a", limits)
        assert (refused.refused, refused.retry_after) == ("usd", 12 * 3600 + 60)
        assert (await counters.admit("b", limits)).refused is None
        clock.pass_(refused.retry_after)
        admitted = await counters.admit("a", limits)
        assert admitted.refused is None
        assert admitted.requests.remaining == 8  # what was refused counted nowhere

    asyncio.run(run())


@pytest.mark.parametrize("jump", [-3600.0, -86400.0 * 365])
def test_a_clock_that_jumps_back_locks_nobody_out(clock, jump):
    async def run():
        counters, limits = in_memory(), Limits(requests_per_minute=1, tokens_per_minute=5)
        await counters.admit("a", limits)
        await counters.add(used("a", 9), {"a": (5, 9)})
        assert (await counters.admit("a", limits)).refused == "tokens"
        clock.now += jump
        assert (await counters.admit("a", limits)).refused is None
        assert (await counters.admit("a", limits)).refused == "requests"

    asyncio.run(run())


def test_a_clock_that_is_corrected_a_little_forgets_nothing(clock):
    async def run():
        counters, limits = in_memory(), Limits(requests_per_minute=1)
        await counters.admit("a", limits)
        clock.now -= 1
        assert (await counters.admit("a", limits)).refused == "requests"

    asyncio.run(run())


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.sampled_from(["small", "large"]),
            st.integers(0, 10_000),
            st.integers(0, 10_000),
            st.integers(0, 1000),
        ),
        max_size=20,
    )
)
def test_totals_add_up_whatever_the_batches(charges):
    async def run():
        counters, today = in_memory(), days_ago(0)
        for key, expert, tokens_in, tokens_out, cents in charges:
            total = Total(1, tokens_in, tokens_out, cents / 4, cents / 2, cents)
            await counters.add({(today, key, expert): total}, {})
        return await counters.since(today)

    kept = asyncio.run(run())
    for column, index in (("requests", None), ("input_tokens", 2), ("output_tokens", 3)):
        expected = sum(1 if index is None else charge[index] for charge in charges)
        assert sum(getattr(total, column) for total in kept.values()) == expected
    assert sum(total.cost_usd for total in kept.values()) == sum(c[4] for c in charges) / 4


def test_days_are_forgotten_after_forty(clock):
    async def run():
        counters = in_memory()
        await counters.add(used("a", 1, day=days_ago(41)), {})
        await counters.add(used("a", 1, day=days_ago(40)), {})
        return await counters.since("2000-01-01")

    assert [day for day, _, _ in asyncio.run(run())] == [days_ago(40)]
