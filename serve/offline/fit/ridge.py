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
    """One predictor a penalty, all from one covariance of the vectors."""
    centre = train.vectors.mean(axis=0)
    quality, mean = complete(train.quality)
    measured = ~np.isnan(train.output_tokens).all(axis=1)
    tokens, mean_tokens = complete(train.output_tokens[measured])
    x = train.vectors - centre
    known = x[measured]
    covariance = (x.T @ x).astype(np.float64)
    theirs = covariance if measured.all() else (known.T @ known).astype(np.float64)
    target, length = x.T @ (quality - mean), known.T @ (tokens - mean_tokens)
    return [
        RidgePredictor(
            train.experts,
            centre,
            _weights(covariance, target, alpha),
            mean.astype(np.float32),
            _weights(theirs, length, alpha),
            mean_tokens.astype(np.float32),
            alpha,
        )
        for alpha in alphas
    ]


def _weights(covariance: Doubles, target: Doubles, alpha: float) -> Floats:
    """(D, D) X'X and (D, E) X'Y -> (D, E) weights (X'X + alpha)^-1 X'Y."""
    penalised = covariance + alpha * np.eye(len(covariance))
    return np.asarray(np.linalg.solve(penalised, target), dtype=np.float32)
