from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.protocol import Prediction, Query
from serve.routing.rollout import Rollout, ticket
from tests.routing.test_pipeline import ToyPredictor, pipeline


class Contrary(ToyPredictor):
    """Prefers what ToyPredictor does not."""

    def predict(self, vectors):
        said = super().predict(vectors)
        return Prediction(1 - said.quality, said.output_tokens)


QUERIES = [Query(f"question {i}", 5) for i in range(40)]
TICKETS = [ticket(query.text) for query in QUERIES]


def rollout(fake_encoder, pool, share, predictor=None):
    champion = pipeline(fake_encoder, pool)
    challenger = pipeline(fake_encoder, pool, predictor=predictor or Contrary())
    return Rollout(champion, challenger, share)


def test_both_routers_share_one_forward_pass(fake_encoder, pool):
    rulings = rollout(fake_encoder, pool, 0.5).decide(QUERIES, TICKETS)
    assert fake_encoder.passes == 1
    assert len(rulings) == len(QUERIES)


def test_a_shadow_never_acts_and_is_compared(fake_encoder, pool):
    rulings = rollout(fake_encoder, pool, 0.0).decide(QUERIES, TICKETS)
    alone = pipeline(fake_encoder, pool).decide(QUERIES)
    assert [r.acting for r in rulings] == alone
    for ruling in rulings:
        best, other = ruling.champion.candidates
        tie = best.utility == other.utility
        assert ruling.differs != tie
        assert ruling.regret == (0 if tie else best.utility - other.utility)
    assert sum(ruling.differs for ruling in rulings) > 30


def test_the_same_router_never_differs_from_itself(fake_encoder, pool):
    rulings = rollout(fake_encoder, pool, 1.0, ToyPredictor()).decide(QUERIES, TICKETS)
    assert not any(r.differs or r.regret for r in rulings)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_canary_acts_on_the_share_its_tickets_draw(fake_encoder, pool, share):
    rulings = rollout(fake_encoder, pool, share).decide(QUERIES, TICKETS)
    for ruling, number in zip(rulings, TICKETS, strict=True):
        assert ruling.canary == (number < share)
        assert ruling.acting is (ruling.challenger if ruling.canary else ruling.champion)


def test_without_a_challenger_there_is_nothing_to_compare(fake_encoder, pool):
    (ruling,) = Rollout(pipeline(fake_encoder, pool)).decide(QUERIES[:1], [0.0])
    assert ruling.acting is ruling.champion
    assert not ruling.differs and ruling.regret == 0


@given(st.text())
def test_a_ticket_is_a_share_and_always_the_same(key):
    assert 0 <= ticket(key) < 1
    assert ticket(key) == ticket(key)


def test_tickets_are_spread_evenly():
    numbers = np.array([ticket(str(i)) for i in range(4000)])
    assert abs((numbers < 0.1).mean() - 0.1) < 0.02
