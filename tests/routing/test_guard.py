from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serve.protocol import Prediction
from serve.routing.guard import Guard


def guard(lower):
    lam = np.arange(len(lower), dtype=np.float32)
    means = np.array([0.6, 0.5], dtype=np.float32)
    costs = np.array([0.3, 0.1], dtype=np.float32)
    return Guard(lam, lam, np.array(lower, np.float32), 0.9, 50, means, means * 10, costs)


def test_it_trusts_where_the_lower_bound_is_above_zero():
    made = guard([-0.1, 0.1, 0.0])
    assert [made.trusts(lam) for lam in (0, 0.4, 0.6, 1, 2, 99)] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]


def test_the_constant_is_the_best_expert_at_that_price():
    assert guard([0]).constant(0) == 0
    assert guard([0]).constant(1.0) == 1


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=8), st.booleans())
def test_a_held_row_holds_the_means_and_the_others_are_untouched(novelty, trusted):
    made = guard([0.1 if trusted else -0.1])
    rows = len(novelty)
    quality = np.full((rows, 2), 0.9, np.float32)
    said = Prediction(quality, quality, np.array(novelty, np.float32))
    held = made.holds(said, 0.0)
    after = made.apply(said, held)
    for row in range(rows):
        assert held[row] == (not trusted or novelty[row] >= 1)
        expected = made.quality if held[row] else quality[row]
        np.testing.assert_array_equal(after.quality[row], expected)
