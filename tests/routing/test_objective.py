from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.protocol import Expert, Query
from serve.routing.choice import Policy, choose
from serve.routing.objective import OBJECTIVES, Budget, CheapestWithin, LinearCost, traded

unit = st.floats(0, 1, width=32)
price = st.floats(0, 100)
pools = st.lists(st.tuples(unit, price), min_size=1, max_size=6)
objectives = st.one_of(
    st.builds(LinearCost, st.floats(0, 1e6)),
    st.builds(Budget, st.floats(0, 1e-2)),
    st.builds(CheapestWithin, unit),
)


def rank(objective, quality, output_tokens, input_tokens, experts):
    return choose(
        Query("", input_tokens),
        quality.astype(np.float64),
        np.full(len(quality), float(input_tokens)),
        output_tokens,
        experts,
        objective,
        policy=Policy(),
        snapshot={},
        counted=[False] * len(quality),
    )


def pool_of(rows):
    experts = [Expert(f"e{i}", cost, cost) for i, (_, cost) in enumerate(rows)]
    return experts, np.array([q for q, _ in rows], dtype=np.float32)


@given(pools, objectives)
def test_a_ranking_holds_every_expert_once_by_falling_utility(rows, objective):
    experts, quality = pool_of(rows)
    ranked = rank(objective, quality, np.full(len(rows), 100.0), 50, experts)
    assert sorted(c.expert for c in ranked) == sorted(e.id for e in experts)
    utilities = [c.utility for c in ranked]
    assert utilities == sorted(utilities, reverse=True)


@given(pools, st.floats(0, 1e6))
def test_linear_cost_is_quality_less_lambda_times_dollars(rows, lam):
    experts, quality = pool_of(rows)
    for candidate in rank(LinearCost(lam), quality, np.full(len(rows), 100.0), 50, experts):
        assert candidate.utility == pytest.approx(candidate.quality - lam * candidate.cost_usd)


@given(pools, st.floats(0, 1e-2))
def test_a_budget_is_kept_where_any_expert_keeps_it(rows, budget):
    experts, quality = pool_of(rows)
    ranked = rank(Budget(budget), quality, np.full(len(rows), 100.0), 50, experts)
    affordable = [c for c in ranked if c.cost_usd <= budget]
    if affordable:
        assert ranked[0] in affordable
        assert ranked[0].quality == max(c.quality for c in affordable)
    else:
        assert ranked[0].cost_usd == min(c.cost_usd for c in ranked)


@given(pools, unit)
def test_the_cheapest_within_theta_of_the_best_is_picked(rows, theta):
    experts, quality = pool_of(rows)
    ranked = rank(CheapestWithin(theta), quality, np.full(len(rows), 100.0), 50, experts)
    best = max(c.quality for c in ranked)
    near = [c for c in ranked if best - c.quality <= theta]
    assert ranked[0].cost_usd == min(c.cost_usd for c in near)
    assert best - ranked[0].quality <= theta


def test_without_a_price_on_quality_the_better_expert_is_picked(pool):
    assert (
        rank(LinearCost(), np.array([0.5, 0.6]), np.full(2, 100.0), 10, pool)[0].expert == "large"
    )


def test_a_high_lambda_buys_the_cheaper_expert(pool):
    ranked = rank(LinearCost(1e4), np.array([0.5, 0.6]), np.full(2, 100.0), 10, pool)
    assert ranked[0].expert == "small"


def test_ties_go_to_the_cheaper_expert(pool):
    ranked = rank(LinearCost(), np.array([0.5, 0.5]), np.ones(2), 1, pool[::-1])
    assert ranked[0].expert == "small"


def test_cost_is_price_times_tokens_of_prompt_and_answer():
    expert = Expert("x", usd_per_million_input=2.0, usd_per_million_output=8.0)
    (candidate,) = rank(LinearCost(), np.array([1.0]), np.array([250.0]), 500, [expert])
    assert candidate.cost_usd == pytest.approx((500 * 2 + 250 * 8) / 1e6)


def test_the_registry_names_every_objective_by_its_kind():
    assert {kind: made.kind for kind, made in OBJECTIVES.items()} == {k: k for k in OBJECTIVES}


@given(st.lists(st.tuples(unit, st.floats(0, 1e-2)), min_size=2, max_size=6))
def test_a_tradeoff_goes_from_the_best_to_the_cheapest(rows):
    quality, cost = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    spent = [
        cost[
            traded(tradeoff, 1.0 / max(float(np.ptp(cost)), 1e-12)).utility(quality, cost).argmax()
        ]
        for tradeoff in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    assert all(a >= b - 1e-12 for a, b in pairwise(spent))
    assert spent[-1] == pytest.approx(cost.min(), abs=1e-6)
