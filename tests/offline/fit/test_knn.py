from __future__ import annotations

import numpy as np

from serve.offline.fit.knn import TrainingSet, fit_knn
from serve.routing.constant import ConstantPredictor
from serve.routing.knn import KnnPredictor


def training_set(rng, signal: float) -> TrainingSet:
    """Two experts; which one is better depends on the first coordinate, as far as signal says."""
    vectors = rng.normal(size=(200, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    noise = rng.random((200, 2), dtype=np.float32)
    side = (vectors[:, :1] > 0).astype(np.float32)
    quality = signal * np.concatenate([side, 1 - side], axis=1) + (1 - signal) * noise
    tokens = np.full((200, 2), 50, dtype=np.float32)
    return TrainingSet(["a", "b"], vectors, quality, tokens, quality)


def test_where_prompts_tell_the_experts_apart_the_knn_is_fitted():
    fit = fit_knn(training_set(np.random.default_rng(0), 0.8), seed=0)
    assert isinstance(fit.predictor, KnnPredictor)
    assert fit.earned > fit.best_constant + 0.1


def test_where_they_do_not_the_best_constant_is_kept():
    data = training_set(np.random.default_rng(3), 0.0)
    data.quality[:, 1] += 0.5
    fit = fit_knn(data, seed=0)
    assert isinstance(fit.predictor, ConstantPredictor)
    prediction = fit.predictor.predict(data.vectors[:3])
    np.testing.assert_allclose(prediction.quality, np.tile(data.quality.mean(axis=0), (3, 1)))


def test_a_seed_gives_the_same_fit():
    data = training_set(np.random.default_rng(1), 0.5)
    first, second = fit_knn(data, seed=5), fit_knn(data, seed=5)
    assert first.predictor.params() == second.predictor.params()
    assert first.earned == second.earned
