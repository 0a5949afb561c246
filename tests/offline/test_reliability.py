from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.offline.reliability import reliability, together

UNIT = st.lists(st.floats(0, 1), min_size=1, max_size=30)


def test_bins_by_hand():
    found = reliability(np.array([[0.15, 0.15, 0.9]], np.float32), np.array([[0.0, 0.5, 1.0]]))
    predicted, measured, share = found.means()
    assert predicted == pytest.approx([0.15, 0.9]) and measured == pytest.approx([0.25, 1.0])
    assert share == pytest.approx([2 / 3, 1 / 3])
    assert found.error == pytest.approx((2 * 0.1 + 0.1) / 3)


@given(UNIT)
def test_perfect_predictions_have_no_error(values):
    truth = np.array([values])
    assert reliability(truth, truth).error == 0


@given(UNIT, UNIT)
def test_parts_together_are_the_whole(first, second):
    def of(values):
        said = np.array([values])
        return reliability(said, 1 - said)

    both = together([of(first), of(second)])
    assert both.error == pytest.approx(of(first + second).error)
