from __future__ import annotations

import csv
import math

import pandas as pd
import pytest

from serve.errors import TableError
from serve.offline.readers import embedllm
from serve.offline.table import RoutingTable

HEADER = ["prompt_id", "model_id", "category_id", "label", "model_name", "category", "prompt"]
GEMMA = ["google__gemma-7b-it", "mmlu_anatomy"]
PHI = ["microsoft__phi-2", "mmlu_anatomy"]


def written(file, *rows, header=HEADER):
    with file.open("w", newline="") as out:
        csv.writer(out).writerows([header, *rows])
    return file


@pytest.fixture
def folder(tmp_path):
    written(
        tmp_path / "train.csv",
        [7, 0, 3, 1, *GEMMA, "Which bone?\nA. x"],
        [7, 1, 3, 0, *PHI, "Which bone?\nA. x"],
        [2, 0, 3, 0, *GEMMA, "NA"],
    )
    written(tmp_path / "test.csv", [9, 1, 3, 1, *PHI, "Who?"], [9, 0, 3, "", *GEMMA, "Who?"])
    return tmp_path


def test_a_row_per_prompt_and_expert_becomes_a_matrix(folder):
    table = embedllm.read(folder)
    assert table.experts == [GEMMA[0], PHI[0]]
    assert list(table.prompts.index) == ["7", "2", "9"]
    assert list(table.prompts["split"]) == ["train", "train", "test"]
    assert list(table.prompts["prompt"]) == ["Which bone?\nA. x", "NA", "Who?"]
    assert set(table.prompts["task"]) == {"mmlu_anatomy"}
    assert list(table.quality.loc["7"]) == [1.0, 0.0]
    assert math.isnan(table.quality.loc["2", PHI[0]])
    assert math.isnan(table.quality.loc["9", GEMMA[0]])
    assert list(table.split("test").prompts.index) == ["9"]


def test_chunks_make_no_difference(folder, monkeypatch):
    whole = embedllm.read(folder)
    monkeypatch.setattr(embedllm, "CHUNK", 1)
    parts = embedllm.read(folder)
    pd.testing.assert_frame_equal(parts.quality, whole.quality)
    pd.testing.assert_frame_equal(parts.prompts, whole.prompts)


def test_a_prompt_listed_several_times_has_the_mean_and_all_its_categories(tmp_path):
    rows = [
        [1, 0, 4, label, GEMMA[0], category, "Why?"]
        for label, category in ((1, "gpqa_main"), (1, "gpqa_main"), (0, "gpqa_diamond"), ("", "x"))
    ]
    table = embedllm.read(written(tmp_path / "val.csv", *rows))
    assert table.quality.loc["1", GEMMA[0]] == pytest.approx(2 / 3)
    assert table.prompts.loc["1", "task"] == "gpqa_diamond|gpqa_main|x"
    assert table.prompts.loc["1", "split"] == "val"
    assert table.meta["repeated_measurements"] == 1


def test_what_was_read_survives_saving(folder, tmp_path):
    table = embedllm.read(folder)
    table.save(tmp_path / "table")
    loaded = RoutingTable.load(tmp_path / "table")
    pd.testing.assert_frame_equal(loaded.prompts, table.prompts)
    pd.testing.assert_frame_equal(loaded.quality, table.quality)
    assert loaded.meta == table.meta


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        (HEADER[:-1], [1, 0, 3, 1, *GEMMA], "train.csv: columns missing: prompt"),
        ([*HEADER, "cost"], [1, 0, 3, 1, *GEMMA, "Why?", 1], "unknown columns: cost"),
        (HEADER, ["", 0, 3, 1, *GEMMA, "Why?"], "a row has no prompt_id"),
        (HEADER, [1, 0, 3, 1, "", "x", "Why?"], "a row has no model_name"),
        (HEADER, [1, 0, 3, 1, *GEMMA, ""], "prompt '1' has no prompt"),
        (HEADER, [1, 0, 3, 2, *GEMMA, "Why?"], r"prompt '1': label 2\.0 outside 0\.\.1"),
        (HEADER, [1, 0, 3, "yes", *GEMMA, "Why?"], "prompt '1': label 'yes' is not a number"),
    ],
)
def test_a_mistake_names_file_and_id(tmp_path, header, row, message):
    with pytest.raises(TableError, match=message):
        embedllm.read(written(tmp_path / "train.csv", row, header=header))


def test_an_id_of_two_prompts_is_refused(tmp_path):
    rows = [[1, 0, 3, 1, *GEMMA, "Why?"], [1, 1, 3, 1, *PHI, "Who?"]]
    with pytest.raises(
        TableError, match=r"train.csv: prompt id '1' occurs twice, with two prompts"
    ):
        embedllm.read(written(tmp_path / "train.csv", *rows))


def test_an_id_in_two_files_is_refused(folder):
    written(folder / "val.csv", [7, 0, 3, 1, *GEMMA, "Which bone?\nA. x"])
    with pytest.raises(TableError, match="prompt id '7' occurs in two files"):
        embedllm.read(folder)


def test_a_folder_without_such_files_and_an_empty_file_are_refused(tmp_path):
    with pytest.raises(TableError, match=r"no train\.csv, val\.csv or test\.csv"):
        embedllm.read(tmp_path)
    (tmp_path / "train.csv").touch()
    with pytest.raises(TableError, match="not a CSV file"):
        embedllm.read(tmp_path)
    written(tmp_path / "train.csv")
    with pytest.raises(TableError, match=r"train\.csv: holds no rows"):
        embedllm.read(tmp_path)
