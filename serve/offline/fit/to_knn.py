"""Fits TO-Router's kNN; the paper gives no k, our default tries five by validation Area."""

from __future__ import annotations

import numpy as np

from serve.offline.fit.data import Fitted, TrainingSet, fitted_on_train
from serve.offline.fit.select import validated_area
from serve.routing.soft_labels import SCORE_SCALE, TEMPERATURE, soft_labels
from serve.routing.to_knn import ToKnnPredictor

KS = (1, 5, 10, 50, 100)


def fit_to_knn(
    data: TrainingSet,
    *,
    seed: int,
    temperature: float = TEMPERATURE,
    score_scale: float = SCORE_SCALE,
) -> Fitted:
    """The k of best Area on the validation prompts; `seed` is unused."""
    train, held = data.train, data.held
    labels = soft_labels(train.quality, temperature=temperature, score_scale=score_scale)
    tokens = np.nanmean(train.output_tokens, axis=0)
    level = float(np.nanmean(train.quality))

    def knn(k: int) -> ToKnnPredictor:
        return ToKnnPredictor(
            data.experts, train.vectors, labels, tokens, k, level, temperature, score_scale
        )

    areas = {k: validated_area(knn(k).predict(held.vectors), held) for k in KS}
    best = max(areas, key=lambda k: areas[k])
    return fitted_on_train(knn(best), data, {"k": best})
