from __future__ import annotations

import numpy as np
import pytest

from serve.routing.psi import STRENGTHS, cluster_means, columns, validated_means


def test_a_cluster_mean_by_hand():
    phi = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=np.float32)
    quality = np.array([[1.0], [0.0], [1.0], [np.nan]], dtype=np.float32)
    np.testing.assert_allclose(cluster_means(phi, quality, 0), [[0.5], [1.0]], rtol=1e-6)
    overall = 2 / 3
    shrunk = [[(1.0 + overall) / 3], [(1.0 + overall) / 2]]
    np.testing.assert_allclose(cluster_means(phi, quality, 1), shrunk, rtol=1e-6)


def test_an_empty_cluster_is_the_experts_mean():
    phi = np.array([[1, 0], [1, 0]], dtype=np.float32)
    quality = np.array([[1.0], [0.5]], dtype=np.float32)
    assert cluster_means(phi, quality, 0)[1, 0] == pytest.approx(0.75)


def test_an_unknown_expert_is_an_error():
    with pytest.raises(ValueError, match="not in tuple"):
        columns(("a", "b"), ["c"])


def test_the_shrinkage_of_a_new_expert_is_the_best_by_leaving_one_out():
    """Beside a second way to the same: fit again without each prompt."""
    rng = np.random.default_rng(3)
    phi = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 30)]
    quality = (rng.random((30, 1)) < 0.2 + 0.3 * phi.argmax(axis=1)[:, None]).astype(np.float32)
    overall = quality.mean()

    def left_out(strength):
        errors = []
        for i in range(30):
            others = np.arange(30) != i
            deviation = phi[others].T @ (quality[others] - overall)
            psi = overall + deviation / (phi[others].sum(axis=0)[:, None] + strength)
            errors.append(float((quality[i] - phi[i] @ psi)[0]) ** 2)
        return np.mean(errors)

    best = min(STRENGTHS, key=left_out)
    np.testing.assert_allclose(validated_means(phi, quality), cluster_means(phi, quality, best))


def test_an_expert_alike_everywhere_is_shrunk_to_its_mean():
    rng = np.random.default_rng(0)
    phi = np.eye(20, dtype=np.float32)[rng.integers(0, 20, 200)]
    quality = (rng.random((200, 1)) < 0.5).astype(np.float32)
    assert np.abs(validated_means(phi, quality) - quality.mean()).max() < 0.05
