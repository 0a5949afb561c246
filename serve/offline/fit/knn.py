"""Fits routing/knn.py: k and shrinkage by cross-validation on the training prompts alone.

TO-Router gives no k; our default tries the values below and keeps the pair whose picks earned the
most utility on held-out folds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from serve.protocol import Floats
from serve.routing.constant import ConstantPredictor
from serve.routing.knn import KnnPredictor

KS = (1, 5, 10, 20, 50, 100)
SHRINKAGES = (0.0, 1.0, 3.0, 10.0, 30.0)
FOLDS = 5
REPEATS = 4

Rows: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class TrainingSet:
    """What a fit reads: N prompts, E experts.

    Attributes:
        experts: E ids.
        vectors: (N, D), unit length.
        quality: (N, E), 0..1.
        output_tokens: (N, E).
        utility: (N, E), quality - lambda * cost, what a pick earns.
    """

    experts: list[str]
    vectors: Floats
    quality: Floats
    output_tokens: Floats
    utility: Floats


@dataclass(frozen=True)
class Fit:
    """A fitted predictor and what cross-validation said, in utility per prompt.

    Attributes:
        predictor: the kNN, or the constant where the kNN did not beat it.
        earned: of the predictor's picks on held-out folds.
        best_constant: of the best single expert of each fold's training part, on the same folds.
    """

    predictor: KnnPredictor | ConstantPredictor
    earned: float
    best_constant: float


def fit_knn(data: TrainingSet, *, seed: int) -> Fit:
    """The best (k, shrinkage) on all of `data`; the constant, where none of them beats it."""
    folds = list(_folds(len(data.vectors), seed))
    constant = float(np.mean([_constant_utility(data, *fold) for fold in folds]))
    earned = {
        (k, shrinkage): float(
            np.mean([_knn_utility(data, *fold, k=k, shrinkage=shrinkage) for fold in folds])
        )
        for k, shrinkage in product(KS, SHRINKAGES)
    }
    k, shrinkage = max(earned, key=lambda pair: earned[pair])
    if earned[k, shrinkage] <= constant:
        means = data.quality.mean(axis=0), data.output_tokens.mean(axis=0)
        return Fit(ConstantPredictor(data.experts, *means), constant, constant)
    everything = np.arange(len(data.vectors))
    return Fit(_knn(data, everything, k=k, shrinkage=shrinkage), earned[k, shrinkage], constant)


def _knn(data: TrainingSet, rows: Rows, *, k: int, shrinkage: float) -> KnnPredictor:
    return KnnPredictor(
        data.experts,
        data.vectors[rows],
        data.quality[rows],
        data.output_tokens[rows],
        k=k,
        shrinkage=shrinkage,
    )


def _knn_utility(
    data: TrainingSet,
    train: Rows,
    held: Rows,
    *,
    k: int,
    shrinkage: float,
) -> float:
    predicted = _knn(data, train, k=k, shrinkage=shrinkage).predict(data.vectors[held]).quality
    # Cost differs little within an expert, so its mean stands in for the predicted one here.
    penalty = (data.quality[train] - data.utility[train]).mean(axis=0)
    picks = (predicted - penalty).argmax(axis=1)
    return float(data.utility[held, picks].mean())


def _constant_utility(
    data: TrainingSet,
    train: Rows,
    held: Rows,
) -> float:
    best = data.utility[train].mean(axis=0).argmax()
    return float(data.utility[held, best].mean())


def _folds(rows: int, seed: int) -> Iterator[tuple[Rows, Rows]]:
    """(train, held-out) row numbers, FOLDS for each of REPEATS shuffles."""
    rng = np.random.default_rng(seed)
    for _ in range(REPEATS):
        parts = np.array_split(rng.permutation(rows), FOLDS)
        for i, held in enumerate(parts):
            yield np.concatenate([part for j, part in enumerate(parts) if j != i]), held
