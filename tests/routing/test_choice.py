from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.protocol import Expert, Query
from serve.routing.choice import Policy, choose
from serve.routing.objective import LinearCost
from serve.terms import Abilities, Needs, Status, Wish

POOL = [
    Expert("cheap", 0.1, 0.1, Abilities(context=1000, tools=False)),
    Expert("good", 1.0, 1.0, Abilities(context=4000, images=True)),
    Expert("cloud", 5.0, 5.0, Abilities(images=True), local=False),
]
QUALITY = np.array([0.5, 0.7, 0.9])


def chosen(query=None, *, lam=0.0, mu=0.0, policy=None, snapshot=None, quality=QUALITY, out=100.0):
    query = query or Query("q", 50)
    return choose(
        query,
        quality,
        np.full(3, float(query.input_tokens)),
        np.full(3, out),
        POOL,
        LinearCost(lam, mu),
        policy=policy or Policy(),
        snapshot=snapshot or {},
        counted=[True, True, True],
    )


def asked(**fields):
    return Query("q", 50, **fields)


def names(candidates):
    return [c.expert for c in candidates if c.bar is None]


def bars(candidates):
    return {c.expert: c.bar for c in candidates if c.bar is not None}


def test_the_best_first_and_every_term_is_told():
    first, *_ = chosen(snapshot={"cloud": Status(first_s=0.5, token_s=0.01)})
    assert first.expert == "cloud"
    assert first.cost_usd == pytest.approx(150 * 5 / 1e6)
    assert first.seconds == pytest.approx(0.5 + 100 * 0.01)
    assert (first.input_tokens, first.output_tokens, first.switch_usd) == (50, 100.0, 0.0)


def test_an_expert_that_sleeps_is_passed_by_for_a_little_quality_and_no_more():
    asleep = {"cloud": Status(wake_s=30.0)}
    policy = Policy(quality_loss=0.25)
    assert names(chosen(snapshot=asleep, policy=policy)) == ["good", "cloud", "cheap"]
    assert names(chosen(snapshot=asleep, policy=Policy(quality_loss=0.1)))[0] == "cloud"
    all_asleep = {expert.id: Status(wake_s=30.0) for expert in POOL}
    assert names(chosen(snapshot=all_asleep, policy=policy))[0] == "cloud"


def test_a_wake_up_is_part_of_the_time_and_told():
    asleep = {"cloud": Status(first_s=0.5, token_s=0.01, wake_s=30.0)}
    first, *_ = chosen(snapshot=asleep)
    assert (first.expert, first.wake_s, first.seconds) == ("cloud", 30.0, pytest.approx(31.5))
    assert names(chosen(snapshot=asleep, mu=0.1))[0] == "good"


def test_one_that_would_wake_too_late_is_barred_as_such():
    asleep = {"cloud": Status(wake_s=30.0)}
    found = bars(chosen(asked(wish=Wish(max_latency_s=5)), snapshot=asleep))
    assert found["cloud"].cause == "asleep" and "wake in 30 s" in found["cloud"].reason


@pytest.mark.parametrize(
    ("query", "barred", "param"),
    [
        (asked(wish=Wish(allow=frozenset({"good"}))), {"cheap", "cloud"}, "routing.allow"),
        (asked(wish=Wish(deny=frozenset({"cloud"}))), {"cloud"}, "routing.deny"),
        (asked(wish=Wish(private=True)), {"cloud"}, "routing.private"),
        (asked(wish=Wish(max_cost_usd=2e-4)), {"cloud"}, "routing.max_cost_usd"),
        (asked(needs=Needs(images=True)), {"cheap"}, "messages"),
        (asked(needs=Needs(here=True)), {"cloud"}, "model"),
        (asked(needs=Needs(tools=True)), {"cheap"}, "tools"),
        (asked(bound_to="good"), {"cheap", "cloud"}, "messages"),
        (asked(max_output_tokens=2000), {"cheap"}, "max_tokens"),
        (Query("q", 5000), {"cheap", "good"}, "messages"),
    ],
)
def test_who_cannot_serve_a_request_is_no_candidate(query, barred, param):
    found = bars(chosen(query))
    assert set(found) == barred
    assert {bar.param for bar in found.values()} == {param}
    assert {bar.cause for bar in found.values()} == {"request"}


def test_an_estimate_of_the_tokens_bars_only_what_is_far_too_long():
    def barred(tokens):
        made = choose(
            Query("q", tokens),
            QUALITY,
            np.full(3, float(tokens)),
            np.full(3, 10.0),
            POOL,
            LinearCost(),
            policy=Policy(),
            snapshot={},
            counted=[False] * 3,
        )
        return set(bars(made))

    assert barred(1500) == set()
    assert barred(2500) == {"cheap"}


def test_what_passes_is_told_apart_from_what_must_change():
    snapshot = {
        "cheap": Status(down="engine died"),
        "good": Status(fill=1.0),
        "cloud": Status(first_s=9.0),
    }
    found = bars(chosen(asked(wish=Wish(max_latency_s=5)), snapshot=snapshot))
    assert {name: bar.cause for name, bar in found.items()} == {
        "cheap": "down",
        "good": "full",
        "cloud": "late",
    }


def test_a_request_of_low_priority_leaves_room_in_every_queue():
    snapshot = {name: Status(fill=0.85) for name in ("cheap", "good", "cloud")}
    assert names(chosen(snapshot=snapshot)) != []
    assert names(chosen(asked(share=0.8), snapshot=snapshot)) == []


def test_where_the_pick_is_late_a_little_quality_buys_time():
    slow = {"cloud": Status(first_s=60.0), "good": Status(first_s=1.0)}
    policy = Policy(late_s=10, quality_loss=0.25)
    assert names(chosen(snapshot=slow, policy=policy)) == ["good", "cloud", "cheap"]
    assert names(chosen(snapshot=slow, policy=replace(policy, quality_loss=0.1)))[0] == "cloud"
    assert names(chosen(snapshot=slow, policy=replace(policy, late_s=None)))[0] == "cloud"


def test_the_fastest_within_the_declared_loss():
    speeds = {"cloud": Status(first_s=3.0), "good": Status(first_s=1.0), "cheap": Status()}
    query = asked(wish=Wish(fastest=True))
    assert names(chosen(query, snapshot=speeds, policy=Policy(quality_loss=0.3)))[0] == "good"
    assert names(chosen(query, snapshot=speeds, policy=Policy(quality_loss=0.5)))[0] == "cheap"


def test_seconds_have_their_price():
    slow = {"cloud": Status(first_s=10.0)}
    assert names(chosen(snapshot=slow))[0] == "cloud"
    assert names(chosen(snapshot=slow, mu=0.05))[0] == "good"


def test_a_conversation_moves_only_for_a_gain_that_pays_for_reading_it_anew():
    talk = asked(previous="good", prefix_tokens=10_000)
    assert names(chosen(talk))[0] == "cloud"
    assert names(chosen(talk, policy=Policy(switch_gain=0.3)))[0] == "good"
    # 10,000 tokens at 5 USD a million are 0.05 USD: at 5 a dollar that is more than the gain.
    assert names(chosen(talk, lam=5.0))[0] == "good"
    assert names(chosen(replace(talk, prefix_tokens=0), lam=5.0))[0] == "cloud"


statuses = st.builds(
    Status,
    first_s=st.floats(0, 100),
    token_s=st.floats(0, 1),
    down=st.sampled_from([None, None, "down"]),
    fill=st.floats(0, 1.5),
)
wishes = st.builds(
    Wish,
    max_cost_usd=st.none() | st.floats(0, 1e-3),
    max_latency_s=st.none() | st.floats(0.1, 100),
    allow=st.none() | st.frozensets(st.sampled_from(["cheap", "good", "cloud"])),
    deny=st.frozensets(st.sampled_from(["cheap", "good", "cloud"])),
    fastest=st.booleans(),
    private=st.booleans(),
)


@given(
    wishes,
    st.lists(statuses, min_size=3, max_size=3),
    st.lists(st.floats(0, 1), min_size=3, max_size=3),
    st.floats(0, 1e5),
    st.none() | st.floats(0.1, 50),
    st.sampled_from([None, "cheap", "good", "cloud"]),
)
def test_no_wish_is_ever_broken(wish, states, quality, lam, late_s, previous):
    snapshot = dict(zip(["cheap", "good", "cloud"], states, strict=True))
    query = asked(wish=wish, previous=previous, prefix_tokens=100)
    made = chosen(
        query, lam=lam, quality=np.array(quality), snapshot=snapshot, policy=Policy(late_s=late_s)
    )
    assert sorted(c.expert for c in made) == ["cheap", "cloud", "good"]
    kept = [c.bar is None for c in made]
    assert kept == sorted(kept, reverse=True)  # those that may not be asked come last
    for candidate in made:
        if candidate.bar is not None:
            assert candidate.bar.reason
            continue
        name, state = candidate.expert, snapshot[candidate.expert]
        assert wish.allow is None or name in wish.allow
        assert name not in wish.deny
        assert not (wish.private and name == "cloud")
        assert wish.max_cost_usd is None or candidate.cost_usd <= wish.max_cost_usd
        assert wish.max_latency_s is None or candidate.seconds <= wish.max_latency_s
        assert state.down is None and state.fill < 1
