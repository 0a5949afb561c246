from __future__ import annotations

from dataclasses import replace

import pytest

from serve.offline.report import markdown, sign_test
from tests.offline.test_results import row


def test_a_sign_test_by_hand():
    assert sign_test([2, 2, 2, 2, 1], [1, 1, 1, 1, 1]) == (4, 4, pytest.approx(0.125))
    assert sign_test([1.0], [1.0]) == (0, 0, 1.0)


def test_the_markdown_says_what_the_rows_do():
    rows = [row(seed=s, gain=0.01 * s, area=0.8 + 0.01 * s) for s in range(3)]
    rows += [row("knn", s, area=0.7, gain=-0.02, qnc=None if s else 0.6) for s in range(3)]
    text = markdown(rows)
    assert (
        "best single expert 0.7000, random mixture 0.5000, oracle 0.9000; Area of ZeroRouter 0.6000"
        in text
    )
    assert "| default | 0.500 | 0.8100 |" in text and "| +1.00 ± 2.48 | +0.00 |" in text
    assert "0.600 (2 of 3 never)" in text and "| -2.00 ± 0.00 |" in text
    assert "| default |  | 3 of 3 |" in text and "| knn | 0 of 3 |  |" in text
    assert "CPT" not in text and "APGR" in markdown([row(apgr=0.6)])
    assert "The guard holds at 0% of cost levels." in text and "Answer lengths" not in text


def test_answer_lengths_are_reported_where_they_are_known():
    known = replace(row(), tokens_mae=40.0, tokens_mae_mean=50.0)
    assert "off by 40.0 tokens, by 50.0 with the mean" in markdown([known])


def test_a_win_that_chance_would_not_give_is_starred():
    rows = [row(seed=s) for s in range(6)] + [row("knn", s, area=0.7) for s in range(6)]
    text = markdown(rows)
    assert r"| default |  | 6 of 6 \* |" in text and "p < 0.05" in text


def test_many_tables_have_a_summary():
    rows = [row(), row("knn", area=0.7), replace(row(gain=0.03), table="u")]
    rows.append(replace(row("knn"), table="u"))
    text = markdown(rows)
    assert "| gain in points; Area | t | u |" in text
    assert "| t | 0.7000 | 0.5000 | 0.9000 |" in text and "| +3.00 ± 0.00 | +3.00 |" in text
    assert "In 2 of 2 splits it is at most 0.5 points below" in text
    assert "| default | +1.00; 0.8000 | +3.00; 0.8000 |" in text
    assert "| default |  | 1 of 1 |" in text
    assert "All tables" not in markdown(rows[:2])


def test_a_loss_or_a_higher_cost_is_not_safe():
    rows = [row(gain=-0.006), replace(row(gain=0.02), cost_ratio=1.01, table="u")]
    assert "In 0 of 2 splits" in markdown(rows)
