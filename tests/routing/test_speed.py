from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.routing.speed import Speed, Trend


def test_nothing_observed_is_no_time():
    assert Speed().first_s(5) == Speed().token_s(5) == 0.0


@given(st.floats(0.01, 10), st.floats(0, 1))
def test_a_line_is_found_again(a, b):
    trend = Trend()
    for load in np.tile(np.arange(20), 20):
        trend.observe(float(load), a + b * float(load))
    assert trend.at(10) == pytest.approx(a + b * 10, rel=0.02)
    assert trend.at(30) == pytest.approx(a + b * 30, rel=0.05)


def test_it_forgets_what_is_no_longer_so():
    trend = Trend()
    for _ in range(200):
        trend.observe(1, 10.0)
    for _ in range(200):
        trend.observe(1, 1.0)
    assert trend.at(1) == pytest.approx(1.0, rel=0.05)


@given(st.lists(st.tuples(st.integers(0, 100), st.floats(0, 1e3)), min_size=1, max_size=50))
def test_time_is_never_negative_and_never_falls_with_load(seen):
    trend = Trend()
    for load, y in seen:
        trend.observe(load, y)
    at = [trend.at(load) for load in (0, 1, 10, 100)]
    assert at == sorted(at) and at[0] >= 0


def test_first_token_and_the_others_are_told_apart():
    speed = Speed()
    for _ in range(10):
        speed.observe(load=0, first_s=0.5, total_s=0.5 + 9 * 0.1, output_tokens=10)
    assert speed.first_s(0) == pytest.approx(0.5)
    assert speed.token_s(0) == pytest.approx(0.1)


def test_an_answer_that_was_not_streamed_tells_its_mean_token():
    speed = Speed()
    speed.observe(load=0, first_s=2.0, total_s=2.0, output_tokens=20)
    assert speed.first_s(0) == 0.0
    assert speed.token_s(0) == pytest.approx(0.1)
