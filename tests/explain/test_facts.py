"""What a record says of itself, against decisions made anew with routing.choice."""

from __future__ import annotations

import json
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.explain.facts import as_json, why
from serve.protocol import Query
from serve.routing.choice import Policy
from serve.routing.objective import Budget, CheapestWithin, LinearCost
from serve.terms import Status, Wish
from tests.explain.records import candidates, record

A_LITTLE = 1e-6
SLOW = Policy(late_s=2.0, quality_loss=0.1)


def hundredths(low, high):
    return st.integers(low, high).map(lambda n: n / 100)


@st.composite
def cases(draw):
    n = draw(st.integers(2, 4))
    numbers = st.lists(hundredths(0, 100), min_size=n, max_size=n)
    objective = st.builds(LinearCost, hundredths(0, 300))
    objective |= st.builds(Budget, hundredths(0, 100))
    objective |= st.builds(CheapestWithin, hundredths(0, 30))
    status = st.builds(Status, first_s=hundredths(0, 400), wake_s=st.sampled_from([0.0, 0.0, 9.0]))
    snapshot = {f"e{i}": draw(status) for i in range(n)}
    previous = draw(st.none() | st.sampled_from(list(snapshot)))
    policy = draw(st.sampled_from([Policy(), SLOW]))
    query = Query("q", 10, previous=previous, prefix_tokens=0)
    return draw(numbers), draw(numbers), draw(objective), policy, query, snapshot


def first(*case):
    return candidates(*case)[0].expert


@given(cases())
def test_each_change_that_is_told_makes_the_decision_another_and_a_little_less_does_not(case):
    quality, usd, objective, policy, query, snapshot = case
    found = why(record(*case))
    assert found.pick == first(*case)
    for name, change in found.changes.items():
        i = int(name[1:])

        def by_quality(value, i=i):
            return first([*quality[:i], value, *quality[i + 1 :]], usd, *case[2:])

        def by_cost(value, i=i):
            return first(quality, [*usd[:i], value, *usd[i + 1 :]], *case[2:])

        def by_lambda(value):
            return first(quality, usd, LinearCost(value), policy, query, snapshot)

        if change.quality is not None:
            assert by_quality(change.quality + A_LITTLE) == name
            if change.quality - A_LITTLE > quality[i]:
                assert by_quality(change.quality - A_LITTLE) != name
        if change.cost_usd is not None:
            assert by_cost(change.cost_usd - A_LITTLE) == name
            if change.cost_usd + A_LITTLE < usd[i]:
                assert by_cost(change.cost_usd + A_LITTLE) != name
        if change.lam is not None:
            low, high = change.lam
            above = abs(low - objective.lam) < abs(high - objective.lam)
            assert by_lambda(low + A_LITTLE if above else high - A_LITTLE) == name
            assert by_lambda(max(0.0, low - A_LITTLE) if above else high + A_LITTLE) != name


@given(cases())
def test_everyone_of_more_utility_has_a_reason(case):
    told = record(*case)
    rows = {row["id"]: row for row in told["experts"]}
    found = why(told)
    above = {name for name, row in rows.items() if row["utility"] > rows[found.pick]["utility"]}
    assert {name for name, _ in found.passed_by} == above
    if case[3].late_s is None and all(status.wake_s == 0 for status in case[5].values()):
        assert not above  # nobody is late, and nobody sleeps


@given(cases())
def test_a_machine_reads_it_too(case):
    told = json.loads(json.dumps(as_json(record(*case)), allow_nan=False))
    found = why(told["record"])
    for name, change in told["why"]["changes"].items():
        lam = found.changes[name].lam
        assert change["lam"] == (lam and [lam[0], None if lam[1] == inf else lam[1]])


LATE = {"e1": Status(first_s=9.0)}


@pytest.mark.parametrize(
    ("more", "name", "reason"),
    [
        ({"policy": SLOW, "snapshot": LATE}, "e1", "is late: 9.0 s, above 2; e0 comes sooner"),
        ({"snapshot": {"e1": Status(wake_s=30.0)}, "policy": SLOW}, "e1", "sleeps; e0 comes"),
        ({"snapshot": {"e1": Status(down="no route")}}, "e1", "no route"),
        ({"snapshot": {"e1": Status(fill=1.0)}}, "e1", "has a full queue"),
        ({"query": Query("q", 10, bound_to="e0")}, "e1", "did not call the tools: e0 did"),
        (
            {"query": Query("q", 10, wish=Wish(fastest=True)), "policy": SLOW, "snapshot": LATE},
            "e1",
            "wished the fastest within 0.1",
        ),
    ],
)
def test_why_the_highest_utility_did_not_come_first(more, name, reason):
    found = why(record([0.6, 0.65], [0.0, 0.0], **more))
    assert found.pick == "e0"
    ((passed, told),) = found.passed_by
    assert passed == name and reason in told


def test_who_is_between_in_utility_and_not_near_in_quality():
    """e2 is late and best; e0 is near it; e1 has more utility than e0, and is cheap, not good."""
    found = why(
        record(
            [0.85, 0.7, 0.9],
            [0.3, 0.0, 0.0],
            policy=SLOW,
            snapshot={"e2": Status(first_s=9.0)},
        )
    )
    assert found.pick == "e0"
    reasons = dict(found.passed_by)
    assert "more than 0.1 below that of e2" in reasons["e1"]
    assert "is late" in reasons["e2"]


def test_experts_of_the_same_utility_stand_in_the_order_of_the_pool():
    """e0 to e2 cost nothing; e0, the pool's first, sleeps; e2 is near e1 but not near e0."""
    found = why(
        record(
            [0.8, 0.76, 0.72, 0.79],
            [0.0, 0.0, 0.0, 0.1],
            CheapestWithin(0.3),
            snapshot={"e0": Status(wake_s=9.0), "e1": Status(wake_s=5.0)},
        )
    )
    assert found.pick == "e3"
    assert "more than 0.05 below that of e0" in dict(found.passed_by)["e2"]


def test_a_conversation_that_kept_its_expert_says_who_it_would_have_been():
    policy = Policy(switch_gain=0.1)
    kept = why(record([0.6, 0.65], [0, 0], policy=policy, query=Query("q", 10, previous="e0")))
    assert kept.pick == "e0" and kept.without_conversation == "e1"
    assert kept.changes["e1"].quality == pytest.approx(0.7)
    alone = why(record([0.6, 0.65], [0, 0], policy=policy))
    assert alone.pick == "e1" and alone.without_conversation is None


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"guarded": False, "novelty": 0.4}, None),
        ({"guarded": True, "novelty": 1.0}, "unlike any"),
        ({"guarded": True, "novelty": 0.4}, "not known to beat"),
        ({"guarded": True, "stages_ms": {"queue": 0.1}}, "did not answer"),
    ],
)
def test_why_the_guard_decided(fields, told):
    found = why(record([0.6, 0.5], [0, 0], **fields))
    assert (found.guard is None) if told is None else (told in found.guard)


def test_where_nobody_may_be_asked_nothing_would_have_changed_it():
    found = why(record([0.6, 0.5], [0, 0], query=Query("q", 10, wish=Wish(allow=frozenset()))))
    assert found.pick is None and found.changes == {}


def test_what_was_not_decided_has_no_why():
    assert why({"request_id": "r", "model": "e0"}) is None
    assert as_json({"model": "e0"}) == {"record": {"model": "e0"}, "why": None}
