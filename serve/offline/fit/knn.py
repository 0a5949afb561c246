"""Fits routing/knn.py: k by validation, without shrinkage or with.

Neither paper gives k. Our default tries the values below and keeps what has the best Area on the
validation prompts; `plain` is UniRoute's K-NN, whose estimate is the neighbours' mean as it is.
"""

from __future__ import annotations

from itertools import product

from serve.offline.fit.data import Fitted, TrainingSet, fitted_on_train
from serve.offline.fit.select import validated_area
from serve.routing.knn import KnnPredictor

KS = (1, 5, 10, 20, 50, 100)
SHRINKAGES = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0)


def fit_knn(data: TrainingSet, *, seed: int, plain: bool = False, k: int | None = None) -> Fitted:
    """The best (k, shrinkage); `plain` allows no shrinkage, `k` fixes k. `seed` is unused."""
    train, held = data.train, data.held

    def knn(k: int, shrinkage: float) -> KnnPredictor:
        return KnnPredictor(
            data.experts,
            train.vectors,
            train.quality,
            train.output_tokens,
            k=k,
            shrinkage=shrinkage,
        )

    pairs = list(product((k,) if k else KS, (0.0,) if plain else SHRINKAGES))
    areas = [validated_area(knn(*pair).predict(held.vectors), held) for pair in pairs]
    best = pairs[areas.index(max(areas))]
    return fitted_on_train(knn(*best), data, {"k": best[0], "shrinkage": best[1]})
