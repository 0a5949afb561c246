"""Fits the task map: a logistic regression that recognises the tasks the training table names.

Ours. UniRoute finds its clusters without labels; a table made of several tasks already names the
clusters that experts differ in, and recognising them takes fewer prompts than finding them.
"""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from serve.offline.fit.data import Fitted, TrainingSet, fitted_on_train
from serve.offline.fit.select import validated_area
from serve.routing.clusters import TaskMapPredictor
from serve.routing.psi import shrunk_means

PENALTIES = (10.0, 30.0, 100.0)
"""Inverse strengths of the regression's penalty; our default."""

MAX_TASKS = 64
"""Rarer tasks share one class: a class needs prompts, and the regression's cost grows with them."""


def fit_task_map(data: TrainingSet, *, seed: int) -> Fitted:
    """The penalty of best Area on the validation prompts; `seed` is unused."""
    train, held = data.train, data.held
    tried = {penalty: task_map(train, penalty) for penalty in PENALTIES}
    areas = {p: validated_area(m.predict(held.vectors), held) for p, m in tried.items()}
    best = max(areas, key=lambda penalty: areas[penalty])
    return fitted_on_train(tried[best], data, {"penalty": best})


def task_map(train: TrainingSet, penalty: float) -> TaskMapPredictor:
    """A predictor with one cluster a task."""
    theta, bias = _recognise(train, penalty)
    blank = np.zeros((len(bias), 0), dtype=np.float32)
    phi = TaskMapPredictor((), blank, blank, theta, bias).phi(train.vectors)
    return TaskMapPredictor(
        train.experts,
        shrunk_means(phi, train.quality),
        shrunk_means(phi, train.output_tokens),
        theta,
        bias,
    )


def _recognise(train: TrainingSet, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """(D, K) and (K,) of softmax(v . theta + bias); one class needs no regression."""
    names, counts = np.unique(train.tasks, return_counts=True)
    common = names[np.argsort(-counts, kind="stable")][:MAX_TASKS]
    labels = np.where(np.isin(train.tasks, common), train.tasks, "other tasks")
    if len(np.unique(labels)) == 1:
        return np.zeros((train.vectors.shape[1], 1), np.float32), np.zeros(1, np.float32)
    # The optimiser's BLAS and numpy's own take turns, and the threads of each wait for the other's.
    with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
        # The last digits of a regularised regression do not change a pick.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit = LogisticRegression(C=penalty, max_iter=60, tol=1e-3).fit(train.vectors, labels)
    weights, bias = fit.coef_, fit.intercept_
    if len(fit.classes_) == 2:
        # scikit-learn keeps one row for two classes.
        weights, bias = np.vstack([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    return weights.T.astype(np.float32), bias.astype(np.float32)
