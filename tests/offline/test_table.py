from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from serve.errors import TableError
from serve.offline.table import RoutingTable


@pytest.fixture
def table():
    ids = pd.Index(["p1", "p2", "p3"], name="prompt_id")
    prompts = pd.DataFrame(
        {"task": ["a", "a", "b"], "split": ["train", "test", "train"], "prompt": ["x", "y", "z"]},
        index=ids,
    )
    quality = pd.DataFrame({"m": [0.1, 0.2, 0.3], "n": [1.0, np.nan, 0.0]}, index=ids)
    return RoutingTable(prompts, quality, {"cost_usd": quality / 100}, {"source": "test"})


def test_what_is_saved_is_loaded(table, tmp_path):
    table.save(tmp_path)
    loaded = RoutingTable.load(tmp_path)
    pd.testing.assert_frame_equal(loaded.quality, table.quality)
    pd.testing.assert_frame_equal(loaded.prompts, table.prompts)
    pd.testing.assert_frame_equal(loaded.tensors["cost_usd"], table.tensors["cost_usd"])
    assert loaded.meta == table.meta
    assert loaded.fingerprint() == table.fingerprint()


def test_a_split_takes_its_rows_of_everything(table):
    train = table.split("train")
    for frame in (train.prompts, train.quality, train.tensors["cost_usd"]):
        assert list(frame.index) == ["p1", "p3"]
    with pytest.raises(TableError, match="no prompts of split 'validation'"):
        table.split("validation")


def test_another_quality_is_another_fingerprint(table):
    other = table.quality.copy()
    other.loc["p1", "m"] = 0.11
    assert RoutingTable(table.prompts, other).fingerprint() != table.fingerprint()


@pytest.mark.parametrize("name", ["prompts.parquet", "quality.parquet", "meta.json"])
def test_a_missing_file_is_named(table, tmp_path, name):
    table.save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(TableError, match=f"{name} is missing"):
        RoutingTable.load(tmp_path)


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_quality_outside_0_to_1_is_refused(table, tmp_path, value):
    table.quality.loc["p1", "m"] = value
    table.save(tmp_path)
    with pytest.raises(TableError, match=r"outside 0\.\.1"):
        RoutingTable.load(tmp_path)


def test_tables_that_disagree_on_the_prompts_are_refused(table, tmp_path):
    table.save(tmp_path)
    table.quality.iloc[:2].to_parquet(tmp_path / "quality.parquet")
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
