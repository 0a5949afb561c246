"""The pointsman command as a person types it."""

from __future__ import annotations

import csv

import pytest

from serve.cli import main
from serve.offline.table import RoutingTable


@pytest.fixture
def pointsman(monkeypatch):
    def typed(*words):
        monkeypatch.setattr("sys.argv", ["pointsman", *map(str, words)])
        main()

    return typed


def test_import_writes_a_table_that_loads(pointsman, tmp_path, capsys):
    file = tmp_path / "mmlu_anatomy.csv"
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["prompt", "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"])
        rows.writerows([[f"Which is it? {i}", i % 2 == 0, True] for i in range(4)])
    pointsman("import", "--format", "routellm", file, "--out", tmp_path / "table")
    assert capsys.readouterr().out == f"{tmp_path}/table: 4 prompts, 2 experts\n"
    assert RoutingTable.load(tmp_path / "table").quality.mean().tolist() == [0.5, 1.0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["import", "--format", "csv", "x", "--out", "y"], "--format 'csv' is unknown; known: "),
        (["import", "--format", "routerbench", "none.pkl", "--out", "y"], "none.pkl"),
        (["evaluate", "--table", "none", "--out", "y"], "none: prompts.parquet is missing"),
        (["evaluate", "--table", "none", "--router", "best", "--out", "y"], "'best' is unknown"),
        (["check", "none.yaml"], "none.yaml"),
    ],
)
def test_a_mistake_is_one_line_and_exit_status_2(pointsman, words, said, capsys):
    with pytest.raises(SystemExit) as ended:
        pointsman(*words)
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert said in error and error.count("\n") == 1 and error.startswith("pointsman: ")
