"""How hyper-parameters are compared: the Area of the deferral curve on validation prompts."""

from __future__ import annotations

import numpy as np

from serve.offline.fit.data import TrainingSet, complete
from serve.offline.metrics import Curve, area, curve_of, lambdas, picks_at
from serve.protocol import Doubles, Prediction

SWEEP = 60
"""Lambdas of a sweep that only ranks: enough to tell two settings apart."""


def validated_area(prediction: Prediction, held: TrainingSet) -> float:
    """Area that `prediction` earns on the prompts it was made for."""
    return area(validated_curve(prediction, held), held.cost)


def represented(train: TrainingSet, probes: int, seed: int) -> TrainingSet:
    """So many training prompts, as the only ones that an expert is known by; 0: all."""
    if probes == 0 or probes >= len(train.texts):
        return train
    return train.rows(np.random.default_rng(seed).permutation(len(train.texts))[:probes])


def validated_curve(prediction: Prediction, held: TrainingSet, points: int = SWEEP) -> Curve:
    """The deferral curve of `prediction` on the prompts it was made for."""
    lam = lambdas(held.cost, points)
    cost = expected_cost(held)
    predicted = prediction.quality.astype(np.float64)
    picks = [picks_at(predicted, cost, value) for value in lam]
    return curve_of(picks, lam, complete(held.quality)[0], held.cost)


def expected_cost(data: TrainingSet) -> Doubles:
    """(N, E) each expert's mean cost: UniRoute's c(h), the same for every prompt."""
    return np.broadcast_to(data.cost.mean(axis=0), data.cost.shape)
