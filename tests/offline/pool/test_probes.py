from __future__ import annotations

import json

import numpy as np
import pytest

from serve.errors import ArtifactError
from serve.offline.pool.probes import FOLDER, Probes
from serve.routing import artifact
from tests.offline.pool.pools import learned, table_with_answers


@pytest.fixture
def made():
    return table_with_answers()


def test_an_artifact_carries_what_a_new_expert_is_to_be_asked(tmp_path, made):
    loaded = learned(tmp_path, made, probes=50)
    probes = Probes.load(tmp_path, loaded.probes)
    assert len(probes.table.prompts) == len(probes.vectors) == len(probes.clusters) == 50
    assert probes.table.experts == ["cheap", "mid", "dear"]
    assert probes.table.prompts.index.is_unique
    assert set(probes.table.prompts.columns) >= {"prompt", "task", "answer"}
    assert probes.held_out.quality.shape == probes.costs.measured.shape == (50, 3)
    assert probes.table.meta["grader"] == "exact"


def test_what_the_router_says_of_its_probes_was_said_before_it_had_seen_them(tmp_path, made):
    loaded = learned(tmp_path, made)
    probes = Probes.load(tmp_path, loaded.probes)
    seen = loaded.predictor.predict(probes.vectors).quality
    actual = probes.table.quality.to_numpy()
    before, after = ((said - actual).std() for said in (probes.held_out.quality, seen))
    assert before > after


def test_those_all_experts_answered_are_preferred(tmp_path, made):
    made.quality.iloc[::2, 0] = np.nan
    probes = Probes.load(tmp_path, learned(tmp_path, made, probes=60).probes)
    assert probes.table.complete.all()


def test_no_text_twice_and_none_without_a_reference(tmp_path, made):
    made.prompts.iloc[:100, made.prompts.columns.get_loc("prompt")] = "algebra 0"
    made.prompts.iloc[100:200, made.prompts.columns.get_loc("answer")] = None
    probes = Probes.load(tmp_path, learned(tmp_path, made, probes=300).probes)
    assert len(probes.table.prompts) == 101
    assert probes.table.prompts["prompt"].is_unique and probes.table.prompts["answer"].notna().all()


def test_rows_and_experts_can_be_taken_out(tmp_path, made):
    probes = Probes.load(tmp_path, learned(tmp_path, made).probes)
    part = probes.rows(np.array([5, 2])).keep(["dear", "cheap"])
    assert part.table.quality.iloc[0, 0] == probes.table.quality.iloc[5, 2]
    np.testing.assert_array_equal(part.costs.measured, probes.costs.measured[[5, 2]][:, [2, 0]])
    np.testing.assert_array_equal(
        part.held_out.output_tokens, probes.held_out.output_tokens[[5, 2]][:, [2, 0]]
    )


def test_changed_probes_are_refused_and_serving_does_not_need_them(tmp_path, made):
    loaded = learned(tmp_path, made)
    file = tmp_path / FOLDER / "meta.json"
    file.write_text(json.dumps({"grader": "choice"}))
    with pytest.raises(ArtifactError, match="not the folder its manifest pins"):
        Probes.load(tmp_path, loaded.probes)
    assert artifact.load(tmp_path).label == loaded.label


@pytest.mark.parametrize(("router", "probes"), [("default", 0), ("to_knn", 50)])
def test_none_are_kept_where_none_are_wanted_or_the_pool_is_closed(tmp_path, made, router, probes):
    learned(tmp_path, made)  # what an earlier training left there goes
    loaded = learned(tmp_path, made, router=router, probes=probes)
    assert loaded.probes is None and not (tmp_path / FOLDER).exists()
    with pytest.raises(ArtifactError, match="carries no probes"):
        Probes.load(tmp_path, loaded.probes)
