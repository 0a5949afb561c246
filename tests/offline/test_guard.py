from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from serve.offline.fit.registry import ROUTERS
from serve.offline.guard import calibrate, lower_bound, operating_lambda, sweep_of
from serve.offline.metrics import lambdas
from serve.offline.trial import split_trial
from tests.offline.conftest import FakeTaskEncoder, make_table


def fitted(signal):
    made = make_table(400, signal)
    trial = split_trial("made", made, FakeTaskEncoder().encode(made.texts), 0)
    return trial, ROUTERS["stack"].fit(trial.data, seed=0)


def test_a_lower_bound_by_hand():
    # mean .5, s = .5477, n = 6, z(.9) = 1.2816
    values = np.array([0.0, 1.0, 0.0, 1.0, 0.0, 1.0])
    assert lower_bound(values, 0.9) == pytest.approx(0.5 - 1.2816 * 0.5477 / np.sqrt(6), abs=1e-3)
    assert lower_bound(values, 0.5) == pytest.approx(0.5)


def test_a_router_that_earns_more_is_trusted_and_one_that_does_not_is_not():
    trial, router = fitted(0.35)
    guard = calibrate(router, trial.data, trial.costs)
    assert guard.trusts(0.0) and guard.prompts == 280
    assert not guard.trusts(float(guard.lam[-1]))  # cost alone: nothing is above the cheapest
    trial, router = fitted(0.0)
    assert not calibrate(router, trial.data, trial.costs).trusts(0.0)


def test_more_confidence_never_trusts_more():
    trial, router = fitted(0.1)
    shares = []
    for confidence in (0.5, 0.8, 0.9, 0.99):
        guard = calibrate(router, trial.data, trial.costs, confidence=confidence)
        shares.append(np.mean([guard.trusts(float(lam)) for lam in guard.lam]))
    assert shares == sorted(shares, reverse=True)


def test_where_the_guard_holds_every_pick_is_its_constant():
    trial, router = fitted(0.0)
    guard = calibrate(router, trial.data, trial.costs)
    said = router.predictor.predict(trial.test.vectors)
    lam = lambdas(trial.costs.measured)
    expected = trial.test_costs.expected(said.output_tokens)
    for value, picks in zip(lam, sweep_of(said, expected, lam, guard), strict=True):
        if not guard.trusts(float(value)):
            assert set(picks) == {guard.constant(float(value))}


@given(st.integers(0, 2**32 - 1))
def test_the_operating_point_never_costs_more_than_the_best_constant_on_what_it_saw(seed):
    rng = np.random.default_rng(seed)
    quality, cost = rng.random((40, 3)), rng.random((40, 3))
    sweep = [rng.integers(0, 3, 40) for _ in range(6)]
    lam = np.arange(6.0)
    at = operating_lambda(sweep, lam, quality, cost, 2, 0.5)
    assume(at is not None)
    earned = quality[np.arange(40), sweep[at]].mean()
    spent = cost[np.arange(40), sweep[at]].mean()
    assert earned > quality[:, 2].mean() and spent <= cost[:, 2].mean()
