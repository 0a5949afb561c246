"""Fits routing/constant.py: UniRoute's ZeroRouter, each expert's mean."""

from __future__ import annotations

import numpy as np

from serve.offline.fit.data import Fitted, TrainingSet, fitted_on_train
from serve.routing.constant import ConstantPredictor


def fit_constant(data: TrainingSet, *, seed: int) -> Fitted:
    """Means over the training prompts; `seed` is unused."""
    train = data.train
    means = np.nanmean(train.quality, axis=0), np.nanmean(train.output_tokens, axis=0)
    return fitted_on_train(ConstantPredictor(data.experts, *means), data, {})
