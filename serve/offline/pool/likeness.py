"""What a new expert has in common with the known ones, read from answers to the same prompts.

Models fail on much the same prompts, and more so where they are relatives. A weighted sum of the
known experts' answers so explains a good part of the new one's; and the sum of what the router
predicts of them, from thousands of prompts, is a better start than a few hundred answers are.
"""

from __future__ import annotations

import numpy as np

from serve.protocol import Doubles, Floats, Likeness

PENALTIES = (5.0, 15.0, 50.0, 150.0, 500.0, 1500.0, 5000.0)
"""How strongly weights are drawn to 0, in prompts; the best by leaving each prompt out in turn."""


def likeness(
    known_quality: Doubles, known_tokens: Doubles, quality: Floats, output_tokens: Floats
) -> Likeness:
    """Weights by ridge regression of the new expert's answers on the known ones'.

    Args:
        known_quality: (n, E), complete.
        known_tokens: (n, E), complete.
        quality: (n,) of the new expert.
        output_tokens: (n,) of its answers.
    """
    by_quality = _weights(known_quality, quality.astype(np.float64))
    by_tokens = _weights(known_tokens, output_tokens.astype(np.float64))
    return Likeness(
        by_quality,
        by_tokens,
        np.asarray(known_quality @ by_quality, dtype=np.float32),
        np.asarray(known_tokens @ by_tokens, dtype=np.float32),
    )


def _weights(known: Doubles, values: Doubles) -> Floats:
    """(n, E) and (n,) -> (E,); an offset is fitted too, and is not among them."""
    x, y = known - known.mean(axis=0), values - values.mean()
    scale = float(x.var())
    if scale == 0:  # lengths that no table logged
        return np.zeros(x.shape[1], dtype=np.float32)
    left, size, right = np.linalg.svd(x, full_matrices=False)
    errors, tried = [], []
    for penalty in PENALTIES:
        shrunk = size / (size**2 + penalty * scale)
        fitted = left @ (shrunk * size * (left.T @ y))
        own = (left**2) @ (shrunk * size) + 1 / len(y)
        errors.append(float((((y - fitted) / (1 - own)) ** 2).sum()))
        tried.append(right.T @ (shrunk * (left.T @ y)))
    return np.asarray(tried[int(np.argmin(errors))], dtype=np.float32)
