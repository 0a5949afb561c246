from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from serve.offline.cascading.answers import (
    Answers,
    auroc,
    run,
    sweep,
    threshold_at,
    thresholds_at,
)
from serve.routing.cascade import Cascade

INF = np.inf
THREE = Answers(
    quality=np.array([[1.0, 1, 1], [0, 1, 1], [0, 0, 1], [1, 0, 0]]),
    cost=np.tile([1.0, 3, 10], (4, 1)),
    signal=np.array([[-0.1, -9], [-2.0, -0.1], [-2.0, -2.0], [-INF, -INF]]),
)


def test_every_tier_that_was_asked_is_paid():
    outcome = run(THREE, (-1.0, -1.0))
    assert outcome.tier.tolist() == [0, 1, 2, 2]
    assert outcome.quality.tolist() == [1, 1, 1, 0]
    assert outcome.cost.tolist() == [1, 4, 14, 14]
    assert outcome.escalated == 0.75
    before = Answers(THREE.quality, THREE.cost, THREE.signal, pays_all=False)
    assert run(before, (-1.0, -1.0)).cost.tolist() == [1, 3, 10, 10]


def test_a_replay_decides_as_the_gateway_does():
    thresholds = (-1.0, -0.1)
    served = Cascade(("a", "b", "c"), "mean_logprob", thresholds)
    for signal, tier in zip(THREE.signal, run(THREE, thresholds).tier, strict=True):
        at = 0
        while at < 2 and (then := served.next_tier(at, signal[at])) is not None:
            at = then
        assert at == tier


@pytest.mark.parametrize(
    ("share", "threshold"), [(0, -5), (0.19, -5), (0.2, -4), (0.5, -3), (0.6, -2), (1, 0)]
)
def test_the_quantile_by_hand(share, threshold):
    assert threshold_at(np.array([-1.0, -2, -3, -4, -5]), share) == threshold


def test_answers_of_unknown_certainty_are_part_of_the_share():
    signal = np.array([-INF, -INF, -3.0, -2, -1])
    assert [threshold_at(signal, s) for s in (0, 0.4, 0.6, 1)] == [-3, -3, -2, 0]
    assert threshold_at(np.array([-INF]), 0.5) == 0.0


def test_each_tier_passes_on_that_share_of_what_it_answers():
    signal = np.column_stack([np.arange(-100.0, 0), np.arange(-100.0, 0)])
    answers = Answers(np.ones((100, 3)), np.ones((100, 3)), signal)
    assert thresholds_at(answers, 0.5) == (-50, -75)
    tiers = run(answers, thresholds_at(answers, 0.5)).tier
    assert np.bincount(tiers).tolist() == [50, 25, 25]


def test_a_sweep_finds_the_best_within_a_budget_and_the_cheapest_that_is_good_enough():
    swept = sweep(THREE)
    at = swept.within(14.0)
    assert swept.quality[at] == 0.75 and swept.cost[at] == pytest.approx(33 / 4)
    assert swept.reaching(0.75) == at
    assert swept.within(0.5) is None and swept.reaching(0.9) is None


signals = arrays(float, st.integers(1, 30), elements=st.floats(-20, 0) | st.just(-INF))


@given(signals, st.floats(0, 1), st.floats(0, 1))
def test_a_share_is_kept_and_a_larger_one_rejects_no_fewer(signal, one, other):
    low, high = sorted((one, other))
    assert np.isfinite(threshold_at(signal, low))
    assert threshold_at(signal, low) <= threshold_at(signal, high)
    rejected = ~(np.isfinite(signal) & (signal >= threshold_at(signal, low)))
    assert rejected.sum() <= max(low * len(signal) + 1e-6, np.isneginf(signal).sum())


@given(signals, st.floats(-20, 0), st.floats(-20, 0))
def test_a_higher_threshold_escalates_and_costs_no_less(signal, one, other):
    low, high = sorted((one, other))
    answers = Answers(
        np.ones((len(signal), 2)), np.tile([1.0, 2.0], (len(signal), 1)), signal[:, None]
    )
    a, b = run(answers, (low,)), run(answers, (high,))
    assert a.escalated <= b.escalated and (a.cost <= b.cost).all()
    assert (a.cost >= 1).all() and (b.cost <= 3).all()


def test_auroc_is_that_of_the_library_and_takes_graded_answers():
    rng = np.random.default_rng(0)
    signal, right = rng.normal(size=50), (rng.random(50) < 0.5).astype(float)
    assert auroc(signal, right) == pytest.approx(roc_auc_score(right, signal))
    assert auroc(np.array([-INF, -1, -0.5]), np.array([0.0, 1, 1])) == 1.0
    assert auroc(np.array([1.0, 2, 3, 4]), np.array([0.1, 0.2, 0.3, 0.4])) == 1.0
    assert auroc(signal, np.ones(50)) is None and auroc(signal, np.zeros(50)) is None
    assert auroc(signal, np.full(50, 0.3)) is None
