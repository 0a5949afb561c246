"""Fits UniRoute's K-Means variant (arXiv 2502.08773): clusters of the training prompts.

The clusters need no labels. K is chosen as the paper does: the training experts are represented by
their training labels and routed on the validation prompts; no unseen expert is looked at.
"""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from serve.offline.fit.data import Fitted, TrainingSet, fitted_on_train
from serve.offline.fit.select import validated_area
from serve.protocol import Floats
from serve.routing.clusters import KMeansPredictor
from serve.routing.psi import shrunk_means

KS = (5, 10, 25, 50, 100, 200, 300)
"""The paper tries {5, 10, 25, ..., 300}."""


def fit_kmeans(data: TrainingSet, *, seed: int, strength: float | None = None) -> Fitted:
    """The K of best Area on the validation prompts; `strength` 0 is the paper's plain means."""
    train, held = data.train, data.held
    tried = {
        k: kmeans(train, centroids(train.vectors, k, seed), strength)
        for k in KS
        if k <= len(train.vectors)
    }
    areas = {k: validated_area(p.predict(held.vectors), held) for k, p in tried.items()}
    best = max(areas, key=lambda k: areas[k])
    return fitted_on_train(tried[best], data, {"K": best})


def kmeans(train: TrainingSet, centres: Floats, strength: float | None) -> KMeansPredictor:
    """Psi of every expert on those clusters."""
    blank = np.zeros((len(centres), 0), dtype=np.float32)
    phi = KMeansPredictor((), blank, blank, centres).phi(train.vectors)
    return KMeansPredictor(
        train.experts,
        shrunk_means(phi, train.quality, strength),
        shrunk_means(phi, train.output_tokens, strength),
        centres,
    )


def centroids(vectors: Floats, k: int, seed: int) -> Floats:
    """(N, D) -> (k, D) by Lloyd's iterations from k random prompts (scikit-learn).

    k-means++ would take longer than all the iterations and its routers are no better.
    """
    # Several OpenMP threads add up a cluster in any order, and a seed would not give the same bits.
    with threadpool_limits(1, user_api="openmp"):
        fit = KMeans(k, init="random", n_init=1, max_iter=50, random_state=seed).fit(vectors)
    return np.asarray(fit.cluster_centers_, dtype=np.float32)
