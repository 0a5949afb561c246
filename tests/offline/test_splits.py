from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.errors import TableError
from serve.offline.splits import split_experts, split_prompts
from tests.offline.conftest import make_table


@given(prompts=st.integers(30, 200), seed=st.integers(0, 99))
def test_a_split_is_disjoint_complete_stratified_and_seeded(prompts, seed):
    made = make_table(prompts)
    parts = split_prompts(made, seed)
    assert sorted(i for part in parts for i in part) == sorted(made.prompts.index)
    for part, share in zip(parts, (0.6, 0.1, 0.3), strict=True):
        counts = made.prompts.loc[part, "task"].value_counts()
        for task, total in made.prompts["task"].value_counts().items():
            assert abs(counts.get(task, 0) - share * total) <= 1
    for part, again in zip(parts, split_prompts(made, seed), strict=True):
        assert list(part) == list(again)


def test_prompts_of_one_text_are_never_on_two_sides(table):
    table.prompts["prompt"] = [f"text {i % 100}" for i in range(300)]
    sides = [set(table.prompts.loc[part, "prompt"]) for part in split_prompts(table, 1)]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])


def test_a_prompt_with_a_gap_is_no_test_prompt(table):
    table.quality.iloc[::4, 0] = np.nan
    train, validation, test = split_prompts(table, 0)
    assert table.quality.loc[test].notna().all(axis=None)
    assert len(train) == 180 and len(validation) == 30 and 50 < len(test) < 80


def test_a_third_of_the_experts_is_unseen():
    made = make_table(60, experts=[f"e{i}" for i in range(9)])
    seen, unseen = split_experts(made, 0)
    assert len(seen) == 6 and len(unseen) == 3 and not set(seen) & set(unseen)
    assert split_experts(made, 0) == (seen, unseen) != split_experts(made, 1)
    with pytest.raises(TableError, match="holds out a third"):
        split_experts(make_table(60), 0)
