from __future__ import annotations

import numpy as np

from serve.offline.curve_table import STEPS, curve_table
from serve.offline.results import Line


def line(table, router, quality):
    budget = np.linspace(1e-6, 3e-6, 200)
    return Line(table, "prompts", router, 3, budget, quality, quality, quality)


def test_a_row_a_budget_and_a_column_a_router():
    rising = np.linspace(0.2, 0.8, 200)
    text = curve_table([line("a", "default", rising), line("a", "zero", rising / 2)])
    rows = [row for row in text.splitlines() if row.startswith("|")]
    assert rows[0] == "| USD per 1000 prompts | default | zero |"
    assert len(rows) == 2 + STEPS
    assert rows[2] == "| 0.001 | 0.2000 | 0.1000 |"
    assert rows[-1] == "| 0.003 | 0.8000 | 0.4000 |"


def test_tables_are_apart():
    flat = np.full(200, 0.5)
    text = curve_table([line("a", "zero", flat), line("b", "zero", flat)])
    assert "**a, prompts**" in text and "**b, prompts**" in text
