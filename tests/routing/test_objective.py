from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.protocol import Expert
from serve.routing.objective import linear_cost

unit = st.floats(0, 1, width=32)
price = st.floats(0, 100)


@given(st.lists(st.tuples(unit, price), min_size=1, max_size=6), st.floats(0, 1e6))
def test_ranking_holds_every_expert_once_by_falling_utility(rows, lam):
    experts = [Expert(f"e{i}", cost, cost) for i, (_, cost) in enumerate(rows)]
    quality = np.array([q for q, _ in rows], dtype=np.float32)
    ranked = linear_cost(quality, np.full(len(rows), 100.0), 50, experts, lam=lam)
    assert sorted(c.expert for c in ranked) == sorted(e.id for e in experts)
    utilities = [c.utility for c in ranked]
    assert utilities == sorted(utilities, reverse=True)
    for candidate in ranked:
        assert candidate.utility == pytest.approx(candidate.quality - lam * candidate.cost_usd)


def test_without_a_price_on_quality_the_better_expert_is_picked(pool):
    ranked = linear_cost(np.array([0.5, 0.6]), np.array([100.0, 100.0]), 10, pool, lam=0)
    assert ranked[0].expert == "large"


def test_a_high_lambda_buys_the_cheaper_expert(pool):
    ranked = linear_cost(np.array([0.5, 0.6]), np.array([100.0, 100.0]), 10, pool, lam=1e4)
    assert ranked[0].expert == "small"


def test_ties_go_to_the_cheaper_expert(pool):
    ranked = linear_cost(np.array([0.5, 0.5]), np.array([1.0, 1.0]), 1, pool[::-1], lam=0)
    assert ranked[0].expert == "small"


def test_cost_is_price_times_tokens_of_prompt_and_answer():
    expert = Expert("x", usd_per_million_input=2.0, usd_per_million_output=8.0)
    (candidate,) = linear_cost(np.array([1.0]), np.array([250.0]), 500, [expert], lam=0)
    assert candidate.cost_usd == pytest.approx((500 * 2 + 250 * 8) / 1e6)
