from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.offline.fit.registry import ROUTERS
from serve.offline.pool.artifact import load_pool, save_pool
from serve.offline.pool.change import with_expert, without
from serve.offline.pool.guard_change import certainty
from serve.offline.pool.pool import Answered
from serve.protocol import Expert
from tests.offline.conftest import FakeTaskEncoder
from tests.offline.pool.pools import learned, table_with_answers

OPEN = sorted(name for name, router in ROUTERS.items() if router.open)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("pool")
    learned(out, table_with_answers())
    return out


@pytest.fixture(scope="module")
def pool(folder):
    return load_pool(folder)[1]


def answers(pool, n=100, price=2.0, quality=None):
    """The recorded answers of `new`."""
    ids = pool.probes.table.prompts.index[:n]
    recorded = table_with_answers().quality.loc[ids, "new"].to_numpy(np.float32)
    given = recorded if quality is None else np.full(n, quality, np.float32)
    size = np.full(n, 100, np.float32)
    return Answered(Expert("new", price, price), np.arange(n), given, size, size)


def test_a_new_expert_is_routed_to_where_it_is_good(pool):
    grown = with_expert(pool, answers(pool))
    assert grown.predictor.experts == ("cheap", "mid", "dear", "new")
    history = FakeTaskEncoder().encode([f"history {i}" for i in range(900, 950)])
    poetry = FakeTaskEncoder().encode([f"poetry {i}" for i in range(900, 950)])
    said = [grown.predictor.predict(vectors).quality.mean(axis=0) for vectors in (history, poetry)]
    assert said[0].argmax() == 3 and said[1].argmax() == 0
    assert grown.guard.trusts(0.0)
    assert grown.guard.mean_cost[3] == pytest.approx(2.0 * 200 / 1e6, rel=1e-5)


@settings(max_examples=10)
@given(price=st.floats(1e3, 1e5), quality=st.floats(0, 0.02))
def test_an_expert_that_is_never_picked_leaves_the_bounds_alone(pool, price, quality):
    new = answers(pool, price=price, quality=quality)
    grown = with_expert(pool, new)
    picked = [(grown.on(new.rows).served(float(lam)) == 3).any() for lam in pool.guard.lam[::20]]
    assert not any(picked)
    np.testing.assert_allclose(grown.guard.lower, pool.guard.lower, atol=1e-6)
    np.testing.assert_allclose(grown.guard.cost, pool.guard.cost, rtol=1e-4)


def test_few_answers_make_the_guard_more_careful_than_many(pool):
    few, many = (with_expert(pool, answers(pool, n), 0.95).guard.lower for n in (30, 120))
    assert few[:40].mean() < many[:40].mean()


def test_more_confidence_is_a_lower_bound_and_certainty_is_where_it_reaches_zero(pool):
    new = answers(pool)
    half, most = (with_expert(pool, new, c) for c in (0.5, 0.95))
    assert (most.guard.lower <= half.guard.lower).all() and most.guard.confidence == 0.95
    for lam in pool.guard.lam[::20].astype(float):
        sure = certainty(pool.on(new.rows), half.on(new.rows), lam)
        assert half.guard.trusts(lam) == (sure > 0.5)
        assert most.guard.trusts(lam) == (sure > 0.95)


def test_the_other_experts_are_predicted_without_their_own_answers_still(pool):
    grown = with_expert(pool, answers(pool))
    before, after = (p.predictor.predict(p.probes.vectors).quality for p in (pool, grown))
    shift = grown.probes.held_out.quality[:, :3] - pool.probes.held_out.quality
    np.testing.assert_allclose(shift, after[:, :3] - before, atol=1e-6)


def test_the_new_one_is_predicted_without_its_own_answer(pool):
    """Turning one answer round moves no prediction for the fifth it belongs to."""
    new = answers(pool)
    turned = replace(new, quality=np.where(np.arange(100) == 7, 1 - new.quality, new.quality))
    said = [with_expert(pool, a).probes.held_out.quality[7, 3] for a in (new, turned)]
    assert said[0] == said[1]


@pytest.mark.parametrize("router", OPEN)
def test_to_come_and_to_go_leaves_nothing_behind(tmp_path, router):
    learned(tmp_path / "a", table_with_answers(), router=router)
    loaded, pool = load_pool(tmp_path / "a")
    save_pool(tmp_path / "b", loaded, with_expert(pool, answers(pool, 40)), {})
    grown, larger = load_pool(tmp_path / "b")
    save_pool(tmp_path / "c", grown, without(larger, "new"), {})
    back = load_pool(tmp_path / "c")[1]
    vectors = FakeTaskEncoder().encode([f"algebra {i}" for i in range(40)])
    for part in ("quality", "output_tokens"):
        want, got = (getattr(p.predictor.predict(vectors), part) for p in (pool, back))
        np.testing.assert_array_equal(got, want)
    np.testing.assert_allclose(
        back.probes.held_out.quality, pool.probes.held_out.quality, atol=1e-5
    )
    np.testing.assert_array_equal(back.guard.quality, pool.guard.quality)
    # The second change takes back on the same probes what the first one moved.
    np.testing.assert_allclose(back.guard.lower, pool.guard.lower, atol=1e-4)


def test_a_retired_expert_is_gone_from_everything(pool):
    smaller = without(pool, "mid")
    assert smaller.predictor.experts == ("cheap", "dear")
    assert smaller.probes.table.experts == ["cheap", "dear"]
    assert len(smaller.guard.quality) == smaller.probes.costs.measured.shape[1] == 2


def test_a_second_newcomer_joins_the_first(folder, tmp_path):
    loaded, pool = load_pool(folder)
    save_pool(tmp_path, loaded, with_expert(pool, answers(pool, 60)), {})
    grown = load_pool(tmp_path)[1]
    assert grown.probes.table.quality["new"].notna().sum() == 60
    second = replace(answers(pool, 80), expert=Expert("other", 1.0, 1.0))
    larger = with_expert(grown, second)
    assert larger.predictor.experts == ("cheap", "mid", "dear", "new", "other")
    assert np.isfinite(larger.guard.lower).all()
