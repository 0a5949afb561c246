"""An expert described by what it earns in each of K clusters: UniRoute's Psi (arXiv 2502.08773).

UniRoute averages errors; here it is quality, so Psi = 1 - error. A cluster's mean is shrunk to the
expert's mean over all prompts, because a cluster with three prompts says little; an empty cluster
is that mean (our default for UniRoute's empty clusters).
"""

from __future__ import annotations

import numpy as np

from serve.protocol import Floats


def cluster_means(phi: Floats, values: Floats, strength: float) -> Floats:
    """(n, K) memberships and (n, E) values, NaN where not measured -> (K, E) shrunk means.

    Args:
        phi: rows sum to 1.
        values: quality or tokens.
        strength: pseudo-count of the overall mean; 0 is the plain mean.
    """
    measured = ~np.isnan(values)
    overall = np.nanmean(values, axis=0)
    deviation = phi.T @ np.where(measured, values - overall, 0)  # [K, E]
    weight = phi.T @ measured.astype(phi.dtype)
    return np.asarray(overall + deviation / np.maximum(weight + strength, 1e-6), dtype=np.float32)


def columns(names: tuple[str, ...], wanted: tuple[str, ...] | list[str]) -> list[int]:
    """Where the wanted experts stand; ValueError where one is unknown."""
    return [names.index(name) for name in wanted]
