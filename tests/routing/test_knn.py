from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.routing.knn import KnnPredictor


def unit_rows(rng, rows, dimension=6):
    vectors = rng.normal(size=(rows, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def predictor(rng, *, rows=30, k=5, shrinkage=2.0, missing=0.0):
    quality = rng.random((rows, 3), dtype=np.float32)
    quality[rng.random(quality.shape) < missing] = np.nan
    quality[0] = 0.5
    tokens = rng.integers(1, 100, size=(rows, 3)).astype(np.float32)
    vectors = unit_rows(rng, rows)
    return KnnPredictor(["a", "b", "c"], vectors, quality, tokens, k=k, shrinkage=shrinkage)


@given(
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(1, 60),
    shrinkage=st.floats(0, 100),
    missing=st.floats(0, 0.9),
)
def test_predictions_stay_within_what_was_measured(seed, k, shrinkage, missing):
    rng = np.random.default_rng(seed)
    knn = predictor(rng, k=k, shrinkage=shrinkage, missing=missing)
    predicted = knn.predict(unit_rows(rng, 7))
    quality = knn.arrays()["quality"]
    assert predicted.quality.shape == (7, 3)
    assert not np.isnan(predicted.quality).any()
    assert (predicted.quality >= np.nanmin(quality, axis=0) - 1e-5).all()
    assert (predicted.quality <= np.nanmax(quality, axis=0) + 1e-5).all()


def test_one_neighbour_without_shrinkage_is_the_nearest_prompts_own_quality():
    rng = np.random.default_rng(0)
    knn = predictor(rng, k=1, shrinkage=0)
    arrays = knn.arrays()
    np.testing.assert_allclose(knn.predict(arrays["vectors"]).quality, arrays["quality"], rtol=1e-6)


def test_heavy_shrinkage_is_the_global_mean():
    rng = np.random.default_rng(0)
    knn = predictor(rng, shrinkage=1e9)
    expected = np.tile(knn.arrays()["quality"].mean(axis=0), (4, 1))
    np.testing.assert_allclose(knn.predict(unit_rows(rng, 4)).quality, expected, rtol=1e-4)


def test_shrinkage_is_a_pseudo_count_of_the_global_mean():
    vectors = np.eye(4, dtype=np.float32)
    quality = np.array([[1.0], [0.0], [0.0], [0.0]], dtype=np.float32)
    knn = KnnPredictor(["a"], vectors, quality, np.ones_like(quality), k=1, shrinkage=1.0)
    assert knn.predict(vectors[:1]).quality[0, 0] == pytest.approx((1.0 + 0.25) / 2)


def test_a_batch_predicts_what_each_prompt_alone_does():
    rng = np.random.default_rng(1)
    knn, prompts = predictor(rng), unit_rows(rng, 9)
    alone = np.concatenate([knn.predict(prompts[i : i + 1]).quality for i in range(9)])
    np.testing.assert_allclose(knn.predict(prompts).quality, alone, rtol=1e-6)


def test_an_expert_is_judged_by_prompts_it_was_measured_on():
    """A neighbour without a measurement does not take the place of one that has it."""
    vectors = np.eye(3, dtype=np.float32)
    quality = np.array([[0.1, np.nan], [0.2, 0.9], [0.3, 0.8]], dtype=np.float32)
    knn = KnnPredictor(["a", "b"], vectors, quality, np.ones_like(quality), k=1, shrinkage=0)
    predicted = knn.predict(np.array([[0.9, 0.4, 0.1]], dtype=np.float32)).quality[0]
    np.testing.assert_allclose(predicted, [0.1, 0.9], rtol=1e-6)


def test_a_new_expert_is_judged_by_its_own_prompts_and_changes_no_other():
    rng = np.random.default_rng(2)
    knn, prompts, probes = predictor(rng), unit_rows(rng, 5), unit_rows(rng, 20)
    quality, tokens = rng.random(20, dtype=np.float32), np.full(20, 7, np.float32)
    grown = knn.add_expert("new", probes, quality, tokens)
    alone = KnnPredictor(["new"], probes, quality[:, None], tokens[:, None], k=5, shrinkage=2.0)
    np.testing.assert_allclose(
        grown.predict(prompts).quality,
        np.hstack([knn.predict(prompts).quality, alone.predict(prompts).quality]),
        rtol=1e-5,
    )
    only = grown.keep(["new"])
    np.testing.assert_allclose(
        only.predict(prompts).quality, alone.predict(prompts).quality, rtol=1e-5
    )
