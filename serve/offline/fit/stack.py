"""Fits routing/stack.py: members on all prompts, their weights on prompts they had not seen.

Every prompt of training and validation is held out once (five folds), so the weights, the guard
and lambda rest on all of them instead of the validation tenth. Nothing here looks at test prompts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import nnls

from serve.offline.fit.data import Fitted, TrainingSet, complete
from serve.offline.fit.folds import folds
from serve.offline.fit.kmeans import centroids
from serve.offline.fit.learned_map import soft_kmeans
from serve.offline.fit.ridge import ridges
from serve.offline.fit.task_map import task_map
from serve.protocol import Doubles, Floats, OpenPredictor, Prediction
from serve.routing.stack import StackPredictor, combine, nearest_distance, weighted

PENALTY = 30.0
ALPHAS = (10.0, 30.0)
CLUSTERS = 60
QUANTILES = 1001


def fit_stack(data: TrainingSet, *, seed: int) -> Fitted:
    """Members: task map, two ridges, soft k-means; weights by non-negative least squares."""
    base, base_tokens = _means(data.quality), _means(data.output_tokens)
    quality = [np.zeros(data.quality.shape, np.float32) for _ in range(2 + len(ALPHAS))]
    tokens = [np.zeros_like(q) for q in quality]
    # Clusters need no answers, so those of all prompts serve every fold.
    centres = centroids(data.vectors, max(2, min(CLUSTERS, len(data.vectors) // 20)), seed)
    for held in folds(len(data.vectors), seed):
        members = _members(data.rows(np.setdiff1d(np.arange(len(data.vectors)), held)), centres)
        for j, member in enumerate(members):
            said = member.predict(data.vectors[held])
            quality[j][held] = said.quality - base
            tokens[j][held] = said.output_tokens - base_tokens
    contrast, level = _weights(quality, complete(data.quality)[0] - base)
    lengths = _token_weights(tokens, data.output_tokens - base_tokens)
    members = _members(data, centres)
    distance = nearest_distance(data.vectors, centres)
    stack = StackPredictor(
        tuple(members),
        base,
        base_tokens,
        contrast,
        level,
        lengths,
        centres,
        np.quantile(distance, np.linspace(0, 1, QUANTILES)).astype(np.float32),
    )
    held_out = Prediction(
        np.clip(base + combine(quality, contrast, level), 0, 1),
        np.maximum(base_tokens + weighted(tokens, lengths), 1),
    )
    chosen = {
        "members": [m.kind for m in members],
        "contrast": [round(float(w), 3) for w in contrast],
        "level": [round(float(w), 3) for w in level],
    }
    return Fitted(stack, np.arange(len(data.vectors)), held_out, chosen)


def _members(train: TrainingSet, centres: Floats) -> Sequence[OpenPredictor]:
    soft = soft_kmeans(train, centres)
    return [task_map(train, PENALTY), *ridges(train, ALPHAS), soft]


def _weights(deviations: Sequence[Floats], actual: Doubles) -> tuple[Floats, Floats]:
    """(J,) weights of contrast and level by least squares on held-out prompts.

    Half of the contrast's weights is least squares, half is equal: on tables where members are
    worth about the same, least squares alone follows the noise.
    """
    rows = [d.mean(axis=1, keepdims=True) for d in deviations]
    actual_row = actual.mean(axis=1, keepdims=True)
    contrast, _ = nnls(
        np.stack([(d - r).ravel() for d, r in zip(deviations, rows, strict=True)], axis=1),
        (actual - actual_row).ravel(),
    )
    level, _ = nnls(np.stack([r.ravel() for r in rows], axis=1), actual_row.ravel())
    equal = np.full(len(deviations), 1 / len(deviations))
    return _floats((contrast + equal) / 2), _floats(level)


def _token_weights(deviations: Sequence[Floats], actual: Floats) -> Floats:
    """(J,) least-squares weights over the answers whose length is known."""
    known = ~np.isnan(actual)
    weights, _ = nnls(np.stack([d[known] for d in deviations], axis=1), actual[known])
    return _floats(weights)


def _means(values: Floats) -> Floats:
    return _floats(np.nanmean(values, axis=0))


def _floats(values: Doubles | Floats) -> Floats:
    return np.asarray(values, dtype=np.float32)
