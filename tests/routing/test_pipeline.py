from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.protocol import Expert, Prediction, Query
from serve.routing.choice import Policy
from serve.routing.guard import Guard
from serve.routing.objective import CheapestWithin, LinearCost, traded, tradeoff_of
from serve.routing.pipeline import RoutingPipeline
from serve.terms import Wish
from tests.conftest import FakeEncoder


class ToyPredictor:
    """Quality from the first two coordinates; columns in another order than the pool."""

    experts = ("large", "small")

    def predict(self, vectors):
        quality = np.clip((vectors[:, :2] + 1) / 2, 0, 1)
        return Prediction(quality, np.full_like(quality, 100.0))


def pipeline(encoder, pool, lam=0.0, guard=None, predictor=None, **more):
    return RoutingPipeline(
        encoder,
        predictor or ToyPredictor(),
        pool,
        router="toy@1",
        objective=LinearCost(lam),
        guard=guard,
        **more,
    )


def guard(lower):
    """Trusts the router where `lower` is above zero; its constant prefers `small`."""
    two = np.array([0.2, 0.7], dtype=np.float32)  # columns large, small
    lam = np.array([0.0, 1.0], dtype=np.float32)
    return Guard(lam, lam, np.full(2, lower, np.float32), 0.9, 100, two, two * 100, two)


@given(st.floats(0, 0.99))
def test_the_settings_objective_is_told_as_the_tradeoff_that_asks_for_it(tradeoff):
    experts = [Expert("small", 0.1, 0.1), Expert("large", 1.0, 1.0)]
    lam = traded(tradeoff, guard(1).exchange).lam
    assert pipeline(FakeEncoder(), experts, guard=guard(1), lam=lam).tradeoff == pytest.approx(
        tradeoff
    )


def test_an_objective_that_is_none_has_no_tradeoff(fake_encoder, pool):
    budget = RoutingPipeline(
        fake_encoder, ToyPredictor(), pool, router="toy@1", objective=CheapestWithin(0.1)
    )
    assert budget.tradeoff is None


def test_a_batch_is_one_pass_and_keeps_the_order(fake_encoder, pool):
    queries = [Query(f"question {i}", 5) for i in range(20)]
    together = pipeline(fake_encoder, pool).decide(queries)
    assert fake_encoder.passes == 1
    alone = [pipeline(fake_encoder, pool).decide([query])[0] for query in queries]
    assert [d.pick.expert for d in together] == [d.pick.expert for d in alone]
    assert {d.pick.expert for d in together} == {"small", "large"}


@given(st.text())
def test_any_text_gets_a_decision_over_the_whole_pool(text):
    experts = [Expert("small", 0.1, 0.1), Expert("large", 1.0, 1.0)]
    (decision,) = pipeline(FakeEncoder(), experts).decide([Query(text, 1)])
    assert {c.expert for c in decision.candidates} == {"small", "large"}
    assert decision.router == "toy@1"


def test_the_clients_own_limit_caps_the_predicted_cost(fake_encoder, pool):
    free, capped = pipeline(fake_encoder, pool).decide([Query("q", 10), Query("q", 10, 20)])
    cost = {c.expert: c.cost_usd for c in free.candidates}
    limit = {c.expert: c.cost_usd for c in capped.candidates}
    assert cost["large"] == pytest.approx((10 + 100) / 1e6)
    assert limit["large"] == pytest.approx((10 + 20) / 1e6)


def test_where_the_guard_does_not_trust_the_router_the_constant_decides(fake_encoder, pool):
    queries = [Query(f"question {i}", 5) for i in range(20)]
    decisions = pipeline(fake_encoder, pool, guard=guard(-0.01)).decide(queries)
    assert {d.pick.expert for d in decisions} == {"small"}
    assert all(d.guarded for d in decisions)
    assert decisions[0].pick.quality == pytest.approx(0.7)


def test_where_it_does_the_router_decides(fake_encoder, pool):
    queries = [Query(f"question {i}", 5) for i in range(20)]
    trusted = pipeline(fake_encoder, pool, guard=guard(0.01)).decide(queries)
    plain = pipeline(fake_encoder, pool).decide(queries)
    assert trusted == plain


def test_a_prompt_unlike_any_the_router_knows_goes_to_the_constant(fake_encoder, pool):
    class Wary(ToyPredictor):
        def predict(self, vectors):
            said = super().predict(vectors)
            novelty = np.arange(len(vectors), dtype=np.float32) / (len(vectors) - 1)
            return Prediction(said.quality, said.output_tokens, novelty)

    queries = [Query(f"question {i}", 5) for i in range(10)]
    made = pipeline(fake_encoder, pool, guard=guard(0.01), predictor=Wary()).decide(queries)
    assert [d.guarded for d in made] == [False] * 9 + [True]
    assert made[-1].pick.expert == "small" and made[-1].novelty == 1


def test_a_tradeoff_of_its_own_goes_before_the_settings(fake_encoder, pool):
    queries = [
        Query(f"question {i}", 5, wish=Wish(tradeoff=tradeoff))
        for i in range(10)
        for tradeoff in (0.0, 1.0)
    ]
    made = pipeline(fake_encoder, pool, lam=1e6, guard=guard(0.01)).decide(queries)
    assert {d.pick.expert for d in made[1::2]} == {"small"}
    assert {d.pick.expert for d in made[::2]} == {"small", "large"}
    assert made[0].objective == "quality - 0 * cost_usd"


def test_the_guard_is_asked_at_each_querys_own_lambda(fake_encoder, pool):
    two = np.array([0.2, 0.7], dtype=np.float32)
    lam, lower = np.array([0.0, 1.0], np.float32), np.array([0.1, -0.1], np.float32)
    wary = Guard(lam, lam, lower, 0.9, 100, two, two * 100, two)
    queries = [Query("q", 5, wish=Wish(tradeoff=0.0)), Query("q", 5, wish=Wish(tradeoff=0.9))]
    made = pipeline(fake_encoder, pool, guard=wary).decide(queries)
    assert [d.guarded for d in made] == [False, True]


def test_who_answered_before_is_decided_again_where_nobody_remembers(fake_encoder, pool):
    """The turns before are read in the same pass, and hold their expert."""
    made = pipeline(fake_encoder, pool)
    texts = [f"question {i}" for i in range(20)]
    before = [d.pick.expert for d in made.decide([Query(text, 5) for text in texts])]
    fake_encoder.passes = 0
    talk = [Query(f"then {i}", 5, previous_text=text) for i, text in enumerate(texts)]
    sticky = pipeline(fake_encoder, pool, policy=Policy(switch_gain=1.0)).decide(talk)
    assert [d.pick.expert for d in sticky] == before
    assert fake_encoder.passes == 1


def test_tokens_are_each_experts_own(fake_encoder, pool):
    class Counter:
        def count(self, texts):
            return {"small": np.array([len(text) for text in texts], dtype=np.float64)}

    made = pipeline(fake_encoder, pool, counter=Counter()).decide([Query("four", 99)])
    tokens = {c.expert: c.input_tokens for c in made[0].candidates}
    assert tokens == {"small": 4, "large": 99}


def test_a_decision_carries_all_that_it_takes_to_rank_anew(fake_encoder, pool):
    made = pipeline(fake_encoder, pool, lam=3.0, guard=guard(0.1), policy=Policy(late_s=9.0))
    query = Query("q", 10, previous="small")
    for decision in (*made.decide([query]), made.blind(query)):
        assert decision.rule == {
            "kind": "linear_cost",
            "lam": 3.0,
            "mu": 0.0,
            "late_s": 9.0,
            "quality_loss": 0.05,
            "switch_gain": 0.02,
            "exchange": pytest.approx(1.0),
            "pool": ["large", "small"],
        }
        assert decision.previous == "small"
    (traded,) = made.decide([Query("q", 10, wish=Wish(tradeoff=0.25))])
    assert tradeoff_of(traded.rule["lam"], traded.rule["exchange"]) == pytest.approx(0.25)
