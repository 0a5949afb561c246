"""TO-Router's soft labels (arXiv 2408.12320), and the way back from them to quality.

The label of a prompt is a softmax over the experts' scores with temperature 10. The paper's formula
was not seen by us: with scores in 0..1 it is nearly uniform, with percent scores it is informative,
so the scale is a setting and the informative reading is our default.
"""

from __future__ import annotations

import numpy as np

from serve.protocol import Floats

TEMPERATURE = 10.0
SCORE_SCALE = 100.0
"""Percent; 1 is the nearly uniform reading."""


def soft_labels(
    quality: Floats, *, temperature: float = TEMPERATURE, score_scale: float = SCORE_SCALE
) -> Floats:
    """(N, E) quality, NaN where not measured -> (N, E) labels; rows sum to 1, NaN gets 0."""
    logits = quality * (score_scale / temperature)
    logits = np.where(np.isnan(logits), -np.inf, logits)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def quality_of(
    log_probabilities: Floats,
    level: float,
    *,
    temperature: float = TEMPERATURE,
    score_scale: float = SCORE_SCALE,
) -> Floats:
    """The inverse: (B, E) log p -> (B, E) quality.

    log p = score_scale * quality / temperature - log Z gives back how experts differ, all that a
    choice depends on; how hard the prompt is for all of them is lost: each row's mean is `level`.
    """
    quality = log_probabilities * (temperature / score_scale)
    centred = quality - quality.mean(axis=1, keepdims=True)
    return np.asarray(np.clip(level + centred, 0, 1), dtype=np.float32)
