from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.errors import ArtifactError
from serve.routing import artifact
from serve.routing.constant import ConstantPredictor
from serve.routing.guard import Guard
from serve.routing.knn import KnnPredictor


def knn():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(20, 4)).astype(np.float32)
    quality = rng.random((20, 2), dtype=np.float32)
    return KnnPredictor(["a", "b"], vectors, quality, quality * 100, k=3, shrinkage=1.5)


def guard():
    two = np.array([0.4, 0.6], dtype=np.float32)
    return Guard(two, two, two, 0.9, 20, two, two, two)


def save(folder, predictor=None, guard=None):
    return artifact.save(
        folder,
        predictor or knn(),
        name="knn",
        encoder="enc/1",
        dimension=4,
        table="0123456789ab",
        trained={"prompts": 20},
        guard=guard,
    )


def test_what_is_loaded_predicts_what_was_saved(tmp_path):
    saved = save(tmp_path)
    loaded = artifact.load(tmp_path)
    vectors = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    np.testing.assert_array_equal(
        loaded.predictor.predict(vectors).quality, knn().predict(vectors).quality
    )
    assert loaded.label == saved.label == f"knn@{saved.version}"


def test_the_version_is_the_content(tmp_path):
    first = save(tmp_path / "a").version
    assert save(tmp_path / "b").version == first
    other = ConstantPredictor(["a", "b"], np.array([0.1, 0.2]), np.array([1.0, 2.0]))
    assert save(tmp_path / "c", other).version != first


@given(position=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@pytest.mark.parametrize("file", [artifact.ARRAYS, artifact.MANIFEST])
def test_no_changed_byte_is_served(tmp_path_factory, file, position, flip):
    folder = tmp_path_factory.mktemp("artifact")
    before = save(folder)
    raw = bytearray((folder / file).read_bytes())
    raw[int(position * len(raw))] ^= flip
    (folder / file).write_bytes(raw)
    try:
        after = artifact.load(folder)
    except ArtifactError as error:
        assert str(folder) in str(error)
    else:  # JSON white space carries no meaning
        assert file == artifact.MANIFEST
        assert after.version == before.version


@pytest.mark.parametrize("file", [artifact.ARRAYS, artifact.MANIFEST])
def test_a_missing_file_is_named(tmp_path, file):
    save(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(ArtifactError, match=file):
        artifact.load(tmp_path)


def test_another_schema_is_refused(tmp_path):
    save(tmp_path)
    manifest = json.loads((tmp_path / artifact.MANIFEST).read_text())
    (tmp_path / artifact.MANIFEST).write_text(json.dumps(manifest | {"schema": 1}))
    with pytest.raises(ArtifactError, match="schema must be 2"):
        artifact.load(tmp_path)


def test_other_experts_and_other_encoders_are_refused(tmp_path):
    loaded = save(tmp_path)
    loaded.require(experts=["b", "a"], encoder="enc/1", where="x")
    with pytest.raises(ArtifactError, match=r"trained for experts \['a', 'b'\]"):
        loaded.require(experts=["a", "c"], encoder="enc/1", where="x")
    with pytest.raises(ArtifactError, match="trained on encoder enc/1"):
        loaded.require(experts=["a", "b"], encoder="enc/2", where="x")


def test_another_table_is_refused_where_it_is_asked_for(tmp_path):
    loaded = save(tmp_path)
    loaded.require(experts=["a", "b"], encoder="enc/1", where="x", table="0123456789ab")
    with pytest.raises(ArtifactError, match="learned from table 0123456789ab, this is other"):
        loaded.require(experts=["a", "b"], encoder="enc/1", where="x", table="other")


def test_the_guard_is_kept_with_the_router(tmp_path):
    assert save(tmp_path / "plain").guard is None
    kept = save(tmp_path / "guarded", guard=guard()).guard
    assert kept.confidence == 0.9 and kept.prompts == 20
    for name, array in guard().arrays().items():
        np.testing.assert_array_equal(kept.arrays()[name], array)
