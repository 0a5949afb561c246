from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from serve.routing.deferral import baseline, deferral, priciest
from serve.routing.guard import Guard

N, E = 7, 3
SHARES = st.floats(0, 1, width=32)


def guard(lower):
    means = np.array([0.3, 0.5, 0.7]), np.array([1e-5, 2e-5, 4e-5])
    lam = np.array([0.0, 1e9])
    return Guard(lam, lam, np.full(2, lower), 0.95, 100, means[0], np.full(3, 10.0), means[1])


@given(
    arrays(float, (N, E), elements=SHARES),
    arrays(float, (N, E), elements=st.floats(1e-6, 1e-3)),
    arrays(bool, (N, E)),
    st.sampled_from([-1.0, 1.0]),
)
def test_the_curve_falls_from_quality_to_cost(quality, cost, may, lower):
    may[:, 0] |= ~may.any(axis=1)
    points = deferral(quality, cost, may, guard(lower))
    assert [points[0].tradeoff, points[-1].tradeoff] == [0, 1]
    assert all(abs(point.share.sum() - 1) < 1e-9 for point in points)
    allowed = np.where(may, quality, -np.inf)
    if lower > 0:  # the router decides: utility is quality - lambda * cost, so both fall
        assert abs(points[0].quality - allowed.max(axis=1).mean()) < 1e-9
        for dear, cheap in itertools.pairwise(points):
            assert cheap.cost_usd <= dear.cost_usd + 1e-12
            assert cheap.quality <= dear.quality + 1e-9


def test_where_the_guard_decides_one_expert_answers_all():
    rng = np.random.default_rng(0)
    quality, cost = rng.random((N, E)), np.tile([1e-5, 2e-5, 4e-5], (N, 1))
    may = np.ones((N, E), dtype=bool)
    held = deferral(quality, cost, may, guard(-1.0))
    assert held[0].share.tolist() == [0, 0, 1] and held[-1].share.tolist() == [1, 0, 0]
    assert max(deferral(quality, cost, may, guard(1.0))[0].share) < 1
    assert priciest(cost) == 2 and abs(baseline(cost, 2) - 4e-5) < 1e-12
