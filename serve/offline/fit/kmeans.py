"""Fits UniRoute's K-Means variant (arXiv 2502.08773): clusters of the training prompts.

The clusters need no labels. K is chosen as the paper does: the training experts are represented by
their training labels and routed on the validation prompts; no unseen expert is looked at.
"""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from serve.offline.fit.data import Fitted, TrainingSet, fitted_on_train
from serve.offline.fit.select import represented, validated_area
from serve.protocol import Floats
from serve.routing.clusters import KMeansPredictor
from serve.routing.psi import shrunk_means

KS = (5, 10, 25, 50, 100, 200, 300)
"""The paper tries {5, 10, 25, ..., 300}."""


def fit_kmeans(
    data: TrainingSet, *, seed: int, strength: float | None = None, probes: int = 0
) -> Fitted:
    """The K of best Area on the validation prompts.

    Args:
        data: clusters come from its training prompts.
        seed: of the clusters and the probes.
        strength: pseudo-count of an expert's mean in each cluster; 0 is the paper's plain mean,
            None the best by leaving prompts out.
        probes: to choose K, describe the experts by their answers to so many training prompts, as
            new experts will be; 0: by all of them, as the paper does.
    """
    train, held = data.train, data.held
    known = represented(train, probes, seed)
    centres = {k: centroids(train.vectors, k, seed) for k in KS if k <= len(train.vectors)}
    areas = {
        k: validated_area(kmeans(known, c, strength).predict(held.vectors), held)
        for k, c in centres.items()
    }
    best = max(areas, key=lambda k: areas[k])
    return fitted_on_train(kmeans(train, centres[best], strength), data, {"K": best})


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
