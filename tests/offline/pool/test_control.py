from __future__ import annotations

import numpy as np
import pytest

from serve.offline.pool.control import controlled_mean


def test_by_hand():
    # slope 2; the four prompts are .5 above the overall 1 in the control, so 1 above in the values
    control = np.array([0.0, 1.0, 2.0, 3.0])
    assert controlled_mean(2 * control + 1, control, 1.0) == pytest.approx(3.0)


def test_a_control_that_says_nothing_changes_nothing():
    values = np.array([0.2, 0.6])
    assert controlled_mean(values, np.array([1.0, 1.0]), 5.0) == pytest.approx(0.4)


def test_it_is_nearer_to_the_truth_than_the_plain_mean():
    rng = np.random.default_rng(0)
    control = rng.normal(size=5000)
    values = control + 0.5 * rng.normal(size=5000)
    plain, controlled = [], []
    for _ in range(300):
        rows = rng.choice(5000, 100)
        plain.append(values[rows].mean() - values.mean())
        controlled.append(
            controlled_mean(values[rows], control[rows], float(control.mean())) - values.mean()
        )
    assert np.std(controlled) < 0.6 * np.std(plain)
