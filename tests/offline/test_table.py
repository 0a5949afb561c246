from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest

from serve.cli import main
from serve.errors import TableError
from serve.offline.table import RoutingTable
from tests.offline.conftest import make_table


@pytest.fixture
def small():
    ids = pd.Index(["p1", "p2", "p3"], name="prompt_id")
    prompts = pd.DataFrame(
        {"task": ["a", "a", "b"], "split": ["train", "test", "train"], "prompt": ["x", "y", "z"]},
        index=ids,
    )
    quality = pd.DataFrame({"m": [0.1, 0.2, 0.3], "n": [1.0, np.nan, 0.0]}, index=ids)
    return RoutingTable(prompts, quality, {"cost_usd": quality / 100}, {"source": "test"})


def test_what_is_saved_is_loaded(small, tmp_path):
    small.save(tmp_path)
    loaded = RoutingTable.load(tmp_path)
    pd.testing.assert_frame_equal(loaded.quality, small.quality)
    pd.testing.assert_frame_equal(loaded.prompts, small.prompts)
    pd.testing.assert_frame_equal(loaded.tensors["cost_usd"], small.tensors["cost_usd"])
    assert loaded.meta == small.meta
    assert loaded.fingerprint() == small.fingerprint()


def test_a_split_takes_its_rows_of_everything(small):
    train = small.split("train")
    for frame in (train.prompts, train.quality, train.tensors["cost_usd"]):
        assert list(frame.index) == ["p1", "p3"]
    with pytest.raises(TableError, match="no prompts of split 'validation'"):
        small.split("validation")


def test_another_quality_is_another_fingerprint(small):
    other = small.quality.copy()
    other.loc["p1", "m"] = 0.11
    assert RoutingTable(small.prompts, other).fingerprint() != small.fingerprint()


@pytest.mark.parametrize("name", ["prompts.parquet", "quality.parquet", "meta.json"])
def test_a_missing_file_is_named(small, tmp_path, name):
    small.save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(TableError, match=f"{name} is missing"):
        RoutingTable.load(tmp_path)


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_quality_outside_0_to_1_is_refused(small, tmp_path, value):
    small.quality.loc["p1", "m"] = value
    small.save(tmp_path)
    with pytest.raises(TableError, match=r"outside 0\.\.1"):
        RoutingTable.load(tmp_path)


def test_tables_that_disagree_on_the_prompts_are_refused(small, tmp_path):
    small.save(tmp_path)
    small.quality.iloc[:2].to_parquet(tmp_path / "quality.parquet")
    with pytest.raises(TableError, match="differ in prompt ids"):
        RoutingTable.load(tmp_path)


def test_the_kept_table_holds_every_prompt_and_fits_its_limit(repository):
    folder = repository / "deployments/local/table"
    table = RoutingTable.load(folder)
    lines = (repository / "deployments/local/prompts.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert list(table.prompts.index) == [row["id"] for row in rows]
    assert list(table.prompts["split"]) == [row["split"] for row in rows]
    assert len(rows) >= 320 and table.prompts["task"].nunique() >= 5
    assert not table.quality.isna().any(axis=None)
    assert sum(file.stat().st_size for file in folder.iterdir()) < 1_000_000
    artifact = repository / "deployments/local/router"
    assert sum(file.stat().st_size for file in artifact.iterdir()) < 2_000_000


def test_an_expert_with_too_few_answers_is_not_compared_and_a_gap_is_said(table):
    table.quality.iloc[:50, 1] = np.nan  # mid: measured on 83 %
    table.quality.iloc[3, 0] = np.nan
    table.prompts.loc["p9", "prompt"] = None
    pool, notes = table.comparable()
    assert pool.experts == ["cheap", "dear"] and len(pool.prompts) == 299
    assert notes[0].startswith("1 of 300 prompts left out")
    assert "mid" in notes[1] and "1 of 299 prompts are for learning alone" in notes[2]
    assert list(pool.tensors["cost_usd"].columns) == ["cheap", "dear"]
    assert make_table().comparable()[1] == []


def test_experts_with_gaps_here_and_there_are_all_compared_and_all_learned():
    made = make_table(600)
    rng = np.random.default_rng(0)
    made.quality[:] = np.where(rng.random(made.quality.shape) < 0.05, np.nan, made.quality)
    pool, notes = made.comparable()
    assert pool.experts == made.experts and len(pool.prompts) >= 598
    assert 0 < (~pool.complete).sum() < 200 and "for learning alone" in notes[-1]
    assert len(made.learnable()[0].prompts) == len(pool.prompts)


def test_what_only_one_expert_answered_is_learned_but_not_compared(table):
    table.quality.iloc[40:, 1:] = np.nan
    assert table.learnable()[0].experts == table.experts
    with pytest.raises(TableError, match="'cheap' is measured on 100% of them, 'mid' on 13%"):
        table.comparable()
    table.quality.iloc[20:, 1:] = np.nan
    with pytest.raises(TableError, match="20 of them with a text and answered by 'mid'"):
        table.learnable()


def broken(folder, change):
    made = make_table()
    made.save(folder)
    change(folder, made)
    return folder


def rewrite(name, edit):
    def change(folder, made):
        frame = pd.read_parquet(folder / f"{name}.parquet")
        edit(frame).to_parquet(folder / f"{name}.parquet")

    return change


def doubled(frame):
    return frame.rename(index={"p1": "p0"})


def both(*changes):
    def change(folder, made):
        for one in changes:
            one(folder, made)

    return change


BROKEN = {
    "an unknown expert": (
        rewrite("cost_usd", lambda f: f.rename(columns={"mid": "stranger"})),
        "cost_usd.parquet has experts that quality.parquet does not: ['stranger']",
    ),
    "a NaN column": (
        rewrite("quality", lambda f: f.assign(mid=np.nan)),
        "expert 'mid' has no measured quality",
    ),
    "one expert": (
        both(*(rewrite(n, lambda f: f[["mid"]]) for n in ("quality", "cost_usd", "out_tokens"))),
        "at least 2 experts",
    ),
    "a doubled id": (
        both(*(rewrite(n, doubled) for n in ("quality", "prompts"))),
        "prompt id 'p0' is used twice",
    ),
    "three prompts": (
        both(
            *(
                rewrite(n, lambda f: f.iloc[:3])
                for n in ("quality", "prompts", "cost_usd", "out_tokens")
            )
        ),
        "at least 30 different prompts, here are 3",
    ),
    "one text": (
        rewrite("prompts", lambda f: f.assign(prompt="the same")),
        "at least 30 different prompts, here are 300, 1 of them",
    ),
    "a negative cost": (rewrite("cost_usd", lambda f: -f), "is negative or infinite"),
    "endless tokens": (rewrite("out_tokens", lambda f: f * np.inf), "is negative or infinite"),
    "a quality above 1": (rewrite("quality", lambda f: f * 2), "outside 0..1"),
    "a negative quality": (rewrite("quality", lambda f: f - 0.5), "outside 0..1"),
    "text for quality": (rewrite("quality", lambda f: f.astype(str)), "is not a number"),
    "no prompt column": (
        rewrite("prompts", lambda f: f.drop(columns="prompt")),
        "no column prompt",
    ),
    "bytes that are no table": (
        lambda folder, made: (folder / "quality.parquet").write_bytes(b"nonsense"),
        "not a Parquet file",
    ),
    "no JSON": (lambda folder, made: (folder / "meta.json").write_text("{"), "is not JSON"),
    "no folder": (lambda folder, made: shutil.rmtree(folder), "prompts.parquet is missing"),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("verb", ["evaluate", "train"])
def test_a_bad_table_gets_one_line_and_exit_status_2(tmp_path, case, verb, monkeypatch, capsys):
    change, words = BROKEN[case]
    folder = broken(tmp_path / "table", change)
    monkeypatch.setattr(
        sys, "argv", ["pointsman", verb, "--table", str(folder), "--out", str(tmp_path / "out")]
    )
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("pointsman: ") and words in line and str(folder) in line
    assert not (tmp_path / "out").exists()
