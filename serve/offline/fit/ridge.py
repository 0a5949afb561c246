"""Fits routing/ridge.py in closed form; the penalty by Area on the validation prompts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serve.offline.fit.data import Fitted, TrainingSet, complete, fitted_on_train
from serve.offline.fit.select import validated_area
from serve.protocol import Doubles, Floats
from serve.routing.ridge import RidgePredictor

ALPHAS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


def fit_ridge(data: TrainingSet, *, seed: int) -> Fitted:
    """The best penalty; `seed` is unused."""
    held = data.held
    tried = dict(zip(ALPHAS, ridges(data.train, ALPHAS), strict=True))
    areas = {a: validated_area(p.predict(held.vectors), held) for a, p in tried.items()}
    best = max(areas, key=lambda alpha: areas[alpha])
    return fitted_on_train(tried[best], data, {"alpha": best})


def ridges(train: TrainingSet, alphas: Sequence[float]) -> list[RidgePredictor]:
    """One predictor a penalty, all from one decomposition of the vectors' covariance."""
    centre = train.vectors.mean(axis=0)
    quality, mean = complete(train.quality)
    q = _Path(train.vectors - centre, quality - mean)
    measured = ~np.isnan(train.output_tokens).all(axis=1)
    tokens, mean_tokens = complete(train.output_tokens[measured])
    same = bool(measured.all())
    t = _Path(train.vectors[measured] - centre, tokens - mean_tokens, q if same else None)
    return [
        RidgePredictor(
            train.experts,
            centre,
            q.weights(alpha),
            mean.astype(np.float32),
            t.weights(alpha),
            mean_tokens.astype(np.float32),
            alpha,
        )
        for alpha in alphas
    ]


class _Path:
    """Ridge solutions for any penalty: weights = V (S + alpha)^-1 V' X' Y."""

    def __init__(self, x: Floats, y: Doubles, known: _Path | None = None) -> None:
        self._values: Doubles
        self._basis: Doubles
        if known is not None:
            self._values, self._basis = known._values, known._basis
        else:
            self._values, self._basis = np.linalg.eigh((x.T @ x).astype(np.float64))
        self._target = self._basis.T @ (x.T @ y)

    def weights(self, alpha: float) -> Floats:
        """(D, E)."""
        scaled = self._target / (np.maximum(self._values, 0) + alpha)[:, None]
        return np.asarray(self._basis @ scaled, dtype=np.float32)
