"""An expert described by what it earns in each of K clusters: UniRoute's Psi (arXiv 2502.08773).

UniRoute averages errors; here it is quality, so Psi = 1 - error. A cluster's mean is shrunk to the
expert's mean over all prompts, because a cluster with three prompts says little; an empty cluster
is that mean (our default for UniRoute's empty clusters).
"""

from __future__ import annotations

import numpy as np

from serve.protocol import Floats

STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""Pseudo-counts that an expert's Psi may be shrunk by; our default."""


def shrunk_means(phi: Floats, values: Floats, strength: float | None = None) -> Floats:
    """Cluster means by that pseudo-count, or by the best one for each expert."""
    if strength is None:
        return validated_means(phi, values)
    return cluster_means(phi, values, strength)


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


def validated_means(phi: Floats, values: Floats) -> Floats:
    """Cluster means, each expert's pseudo-count chosen by leaving each prompt out in turn.

    A few hundred answers spread over a hundred clusters say little of each: how little differs from
    expert to expert and from map to map.

    Args:
        phi: (n, K), rows sum to 1.
        values: (n, E), NaN where not measured.

    Returns:
        (K, E).
    """
    measured = ~np.isnan(values)
    known = measured.astype(phi.dtype)
    weight = phi.T @ known  # [clusters, experts]
    tried, errors = [], []
    for strength in STRENGTHS:
        means = cluster_means(phi, values, strength)
        # What a prompt adds to its own estimate: the estimate without it is off by 1 / (1 - own).
        own = phi**2 @ (1 / (weight + strength))
        left_out = np.where(measured, (values - phi @ means) / (1 - own), 0)
        tried.append(means)
        errors.append((left_out**2).sum(axis=0))
    best = np.argmin(errors, axis=0)  # [experts]
    return np.asarray(np.stack(tried)[best, :, np.arange(values.shape[1])].T, dtype=np.float32)


def columns(names: tuple[str, ...], wanted: tuple[str, ...] | list[str]) -> list[int]:
    """Where the wanted experts stand; ValueError where one is unknown."""
    return [names.index(name) for name in wanted]
