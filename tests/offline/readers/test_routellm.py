from __future__ import annotations

import csv
import math

import pandas as pd
import pytest

from serve.errors import TableError
from serve.offline.readers.routellm import read
from serve.offline.table import RoutingTable

WEAK, STRONG = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
MMLU = ["prompt", WEAK, STRONG]
GSM8K = [*MMLU, f"{WEAK}_response", f"{STRONG}_response"]


def written(file, *rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as out:
        csv.writer(out).writerows(rows)
    return file


@pytest.fixture
def evals(tmp_path):
    responses = tmp_path / "evals/mmlu/responses"
    question = "Which is it?\nA. 0\nB. 4\nAnswer:"
    written(responses / "mmlu_anatomy.csv", MMLU, [question, True, False], ["NA", False, True])
    written(responses / "mmlu_astronomy.csv", MMLU, [question, "", True])
    answers = [" 16 - 7 = 9\n#### 18", ""]
    written(
        tmp_path / "evals/gsm8k/gsm8k_responses.csv", GSM8K, ["How many?", True, True, *answers]
    )
    return tmp_path / "evals"


def test_a_folder_is_read_file_by_file(evals):
    table = read(evals)
    assert table.experts == [WEAK, STRONG]
    assert list(table.prompts.index) == [
        "mmlu_anatomy-0",
        "mmlu_anatomy-1",
        "mmlu_astronomy-0",
        "gsm8k-0",
    ]
    assert list(table.prompts["task"]) == [
        "mmlu_anatomy",
        "mmlu_anatomy",
        "mmlu_astronomy",
        "gsm8k",
    ]
    assert table.prompts.loc["mmlu_anatomy-1", "prompt"] == "NA"
    assert list(table.quality[STRONG]) == [0.0, 1.0, 1.0, 1.0]
    assert math.isnan(table.quality.loc["mmlu_astronomy-0", WEAK])
    assert table.tensors["answers"].loc["gsm8k-0", WEAK] == " 16 - 7 = 9\n#### 18"
    assert table.tensors["answers"].loc["mmlu_anatomy-0"].isna().all()


def test_one_file_without_responses_has_no_answers(evals):
    table = read(evals / "mmlu/responses/mmlu_anatomy.csv")
    assert len(table.prompts) == 2 and table.tensors == {}


def test_what_was_read_survives_saving(evals, tmp_path):
    table = read(evals)
    table.save(tmp_path / "table")
    loaded = RoutingTable.load(tmp_path / "table")
    pd.testing.assert_frame_equal(loaded.prompts, table.prompts)
    pd.testing.assert_frame_equal(loaded.quality, table.quality)
    pd.testing.assert_frame_equal(loaded.tensors["answers"], table.tensors["answers"])
    assert loaded.meta == table.meta


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["question", WEAK], ["Why?", True]], "mmlu_x.csv: columns missing: prompt"),
        ([["prompt"], ["Why?"]], "columns missing: <expert>"),
        ([["prompt", WEAK, "b_response"], ["Why?", True, ""]], "unknown columns: b_response"),
        ([MMLU, ["Why?", True, True], ["", True, True]], "'mmlu_x-1' has no prompt"),
        ([MMLU, ["Why?", True, 2]], f"prompt 'mmlu_x-0': {STRONG} is '2', not True or False"),
        ([], "not a CSV file"),
    ],
)
def test_a_mistake_names_file_and_row(tmp_path, rows, message):
    with pytest.raises(TableError, match=message):
        read(written(tmp_path / "mmlu_x.csv", *rows))


def test_two_files_of_one_task_are_refused(evals):
    written(evals / "copy/mmlu_anatomy.csv", MMLU, ["Why?", True, True])
    with pytest.raises(TableError, match="'mmlu_anatomy-0' occurs twice: two files of one task"):
        read(evals)


def test_a_folder_without_such_files_and_no_file_at_all_are_refused(tmp_path):
    with pytest.raises(TableError, match=r"no mmlu_\*\.csv and no gsm8k_responses\.csv"):
        read(tmp_path)
    with pytest.raises(TableError, match="not a CSV file"):
        read(tmp_path / "mmlu_none.csv")
