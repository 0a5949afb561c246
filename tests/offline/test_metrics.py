from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from serve.offline.metrics import (
    Curve,
    aiq,
    apgr,
    area,
    area50,
    cpt,
    curve_of,
    hull,
    lambdas,
    mixture,
    picks_at,
    qnc,
    reached,
)

QUALITY = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 1.0]])  # means .5 and .75
COST = np.tile([1.0, 4.0], (4, 1))


def constant(column):
    picks = np.full(4, column)
    return curve_of([picks], np.zeros(1), QUALITY, COST)


def test_a_constants_curve_is_its_means():
    curve = constant(1)
    assert curve.cost == [4.0] and curve.quality == [0.75]


def test_area_of_a_constant_is_its_quality():
    assert area(constant(0), COST) == pytest.approx(0.5)
    assert aiq(constant(0), COST) == pytest.approx(0.5)


def test_area_by_hand():
    """The cheap expert's quality up to the last budget, where the dear one can be paid."""
    both = Curve(np.zeros(2), np.array([1.0, 4.0]), np.array([0.5, 0.75]))
    assert area(both, COST) == pytest.approx((199 * 0.5 + 0.75) / 200)
    # Mixing reaches the line between them: its mean is halfway.
    assert aiq(both, COST) == pytest.approx(0.625)


def test_area50_is_not_normalised_and_counts_nothing_below_the_cheapest_point():
    # On an axis where 4 is 1, the cheap expert costs .25: half of 0...5 earns .5.
    assert area50(constant(0), COST) == pytest.approx(0.25 * 0.5, abs=0.003)


def test_qnc_of_the_best_constant_is_one_and_of_a_worse_one_none():
    assert qnc(constant(1), QUALITY, COST) == 1
    assert qnc(constant(0), QUALITY, COST) is None


def test_qnc_by_hand():
    picks = np.array([0, 1, 0, 1])  # all right, for (1 + 4 + 1 + 4) / 4 = 2.5
    curve = curve_of([picks], np.zeros(1), QUALITY, COST)
    assert qnc(curve, QUALITY, COST) == pytest.approx(2.5 / 4)


def test_hull_of_six_points_by_hand():
    cost = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    quality = np.array([0.2, 0.5, 0.4, 0.7, 0.7, 0.8])
    x, y = hull(cost, quality)
    np.testing.assert_array_equal(x, [1, 2, 4, 6])
    np.testing.assert_array_equal(y, [0.2, 0.5, 0.7, 0.8])


def test_a_dominated_expert_changes_no_mixture():
    cost, quality = np.array([1.0, 4.0]), np.array([0.5, 0.75])
    budgets = np.linspace(0, 5, 30)
    more = mixture(np.append(cost, 3.0), np.append(quality, 0.5), budgets)
    np.testing.assert_allclose(mixture(cost, quality, budgets), more)


def test_cpt_and_apgr_by_hand():
    """Weak .5, strong .75. Prompts 1 and 3 gain by the strong one, prompt 0 loses."""
    score = np.array([-1.0, 0.9, 0.0, 0.8])
    # Recovered after k strong calls: 0, 1, 2, 2, 1 of the gap.
    assert apgr(score, QUALITY) == pytest.approx(6 / 5)
    assert cpt(score, QUALITY, 0.5) == pytest.approx(1 / 4)
    assert cpt(score, QUALITY, 2.5) is None


quality_st = arrays(float, (9, 3), elements=st.sampled_from([0.0, 0.5, 1.0]))
cost_st = arrays(float, 3, elements=st.floats(0.1, 10)).map(lambda c: np.tile(c, (9, 1)))


@given(quality_st, quality_st, cost_st)
def test_picks_maximise_quality_at_lambda_0_and_are_cheapest_at_a_huge_one(predicted, _, cost):
    free = picks_at(predicted, cost, 0.0)
    np.testing.assert_array_equal(predicted[np.arange(9), free], predicted.max(axis=1))
    bought = picks_at(predicted, cost, 1e9)
    np.testing.assert_allclose(cost[0, bought], cost[0].min())


@given(quality_st, quality_st, cost_st)
def test_a_curve_stays_between_the_worst_and_the_oracle(predicted, quality, cost):
    lam = lambdas(cost)
    curve = curve_of([picks_at(predicted, cost, v) for v in lam], lam, quality, cost)
    for value in (area(curve, cost), aiq(curve, cost)):
        assert quality.min(axis=1).mean() - 1e-9 <= value <= quality.max(axis=1).mean() + 1e-9
    assert area(curve, cost) <= aiq(curve, cost) + 1e-6


@given(quality_st, cost_st, st.floats(0.1, 10), st.floats(0, 1))
def test_another_point_never_lowers_the_area(quality, cost, more_cost, more_quality):
    lam = lambdas(cost)
    curve = curve_of([picks_at(quality, cost, v) for v in lam], lam, quality, cost)
    grown = Curve(
        np.append(curve.lam, 0),
        np.append(curve.cost, more_cost),
        np.append(curve.quality, more_quality),
    )
    budgets = np.linspace(cost.min(), cost.max(), 20)
    assert (reached(grown, budgets) >= reached(curve, budgets)).all()


@given(arrays(float, 5, elements=st.floats(0.1, 10)), arrays(float, 5, elements=st.floats(0, 1)))
def test_a_mixture_is_at_least_every_constant_it_can_pay_and_never_falls(cost, quality):
    budgets = np.sort(np.concatenate([cost, np.linspace(0.1, 10, 20)]))
    made = mixture(cost, quality, budgets)
    assert (np.diff(made) >= -1e-9).all()
    for c, q in zip(cost, quality, strict=True):
        assert (made[budgets >= c] >= q - 1e-9).all()


@given(quality_st, cost_st)
def test_the_zero_router_with_mixing_is_at_least_every_single_expert(quality, cost):
    means = quality.mean(axis=0)
    best = mixture(cost[0], means, np.array([cost.max()]))[0]
    assert best == pytest.approx(means.max())


def test_a_pool_of_one_price_has_one_lambda():
    np.testing.assert_array_equal(lambdas(np.ones((4, 3))), [0.0])
