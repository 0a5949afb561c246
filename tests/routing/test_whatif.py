"""What is said would have changed the pick does change it, by a ranking anew, and less does not."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.routing.choice import Policy, Terms, rank
from serve.routing.objective import Budget, CheapestWithin, LinearCost
from serve.routing.whatif import least_change

A_LITTLE = 1e-6
"""Relative. Terms are drawn from grids far coarser, so nothing else changes within it."""


def hundredths(low, high):
    return st.integers(low, high).map(lambda n: n / 100)


@st.composite
def situations(draw, *, with_lambda=False):
    """Terms, an objective and a policy. Costs are of the order of qualities, so both matter."""
    n = draw(st.integers(2, 5))

    def row(values):
        return np.array(draw(st.lists(values, min_size=n, max_size=n)))

    previous = draw(st.integers(-1, n - 1))
    moved = np.array([previous not in (-1, i) for i in range(n)])
    terms = Terms(
        quality=row(hundredths(0, 100)),
        cost=row(hundredths(0, 100)),
        switch=row(hundredths(0, 10)) * moved,
        moved=moved,
        seconds=row(hundredths(0, 500)),
        awake=row(st.sampled_from([True, True, False])),
        may=row(st.sampled_from([True, True, True, False])),
        fastest=not with_lambda and draw(st.sampled_from([False, False, True])),
    )
    linear = st.builds(LinearCost, hundredths(0, 300), st.sampled_from([0.0, 0.0, 0.1]))
    other = st.builds(Budget, hundredths(0, 100)) | st.builds(CheapestWithin, hundredths(0, 30))
    policy = Policy(draw(st.none() | hundredths(50, 300)), 0.05, draw(st.sampled_from([0.0, 0.02])))
    objective = linear if with_lambda else linear | other
    return terms, LinearCost() if terms.fastest else draw(objective), policy


def first(terms, objective, policy):
    return rank(terms, objective, policy)[1][0]


def changed(terms, name, column, value):
    values = getattr(terms, name).astype(float)
    values[column] = value
    return replace(terms, **{name: values})


def others(terms, objective, policy):
    order = [i for i in rank(terms, objective, policy)[1] if terms.may[i]]
    return order[1:]


@given(situations())
def test_the_least_quality_that_is_told_is_the_least(situation):
    terms, objective, policy = situation
    for column in others(*situation):
        least = least_change(*situation, column).quality
        if least is None:
            values = np.linspace(terms.quality[column], 1, 40)[1:-1]
        else:
            more = changed(terms, "quality", column, least + A_LITTLE)
            assert first(more, objective, policy) == column
            values = np.linspace(terms.quality[column], least - A_LITTLE, 40)
        if len(values) and values[-1] > terms.quality[column]:
            for value in values:
                less = changed(terms, "quality", column, value)
                assert first(less, objective, policy) != column


@pytest.mark.parametrize("name", ["cost", "seconds"])
@given(situations())
def test_the_most_dollars_and_seconds_that_are_told_are_the_most(name, situation):
    terms, objective, policy = situation
    for column in others(*situation):
        own = getattr(terms, name)[column]
        change = least_change(*situation, column)
        most = change.cost_usd if name == "cost" else change.seconds
        if most is None and not terms.awake[column] and name == "seconds":
            continue
        if most is not None:
            less = changed(terms, name, column, most - A_LITTLE)
            assert first(less, objective, policy) == column
        lowest = 0.0 if most is None else most + A_LITTLE
        for value in np.linspace(own, lowest, 40)[1:-1] if lowest < own else ():
            more = changed(terms, name, column, value)
            assert first(more, objective, policy) != column


@given(situations(with_lambda=True))
def test_the_lambdas_that_are_told_are_the_nearest_and_end_where_it_is_said(situation):
    terms, objective, policy = situation

    def wins(column, lam):
        return first(terms, replace(objective, lam=float(lam)), policy) == column

    for column in others(*situation):
        told = least_change(*situation, column).lam
        if told is None:
            assert not any(wins(column, lam) for lam in np.geomspace(1e-4, 1e6, 60))
            continue
        low, high = told
        between = np.linspace(low, min(high, 2 * low + 9), 20)[1:-1]
        assert all(wins(column, lam) for lam in between)
        near = min(told, key=lambda end: abs(end - objective.lam))
        for lam in np.linspace(objective.lam, near, 20)[1:-1]:
            assert not wins(column, lam)
        assert high != inf or wins(column, 1e6)


def test_by_hand():
    """At lambda 1, small is first by 0.1; large is better by 0.2 and dearer by 0.3."""
    terms = Terms(
        quality=np.array([0.5, 0.7]),
        cost=np.array([0.1, 0.4]),
        switch=np.zeros(2),
        moved=np.zeros(2, bool),
        seconds=np.zeros(2),
        awake=np.ones(2, bool),
        may=np.ones(2, bool),
    )
    change = least_change(terms, LinearCost(1.0), Policy(), 1)
    assert change.quality == pytest.approx(0.8)
    assert change.cost_usd == pytest.approx(0.3)
    assert change.lam == (0.0, pytest.approx(2 / 3))
    assert change.seconds is None
    dear = replace(terms, cost=np.array([0.0, 2.0]), quality=np.array([0.5, 0.4]))
    assert least_change(dear, LinearCost(1.0), Policy(), 1).lam is None
    assert least_change(dear, LinearCost(1.0), Policy(), 1).quality is None
