from __future__ import annotations

import numpy as np
import pytest

from serve.routing.psi import cluster_means, columns


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
