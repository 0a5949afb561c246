"""The predictors an artifact may name, one line each."""

from __future__ import annotations

from serve.protocol import OpenPredictor, StoredPredictor
from serve.routing.clusters import KMeansPredictor, LearnedMapPredictor, TaskMapPredictor
from serve.routing.constant import ConstantPredictor
from serve.routing.knn import KnnPredictor
from serve.routing.mlp import MlpPredictor
from serve.routing.ridge import RidgePredictor
from serve.routing.stack import StackPredictor
from serve.routing.to_knn import ToKnnPredictor

OPEN: dict[str, type[OpenPredictor]] = {
    ConstantPredictor.kind: ConstantPredictor,
    KnnPredictor.kind: KnnPredictor,
    KMeansPredictor.kind: KMeansPredictor,
    LearnedMapPredictor.kind: LearnedMapPredictor,
    TaskMapPredictor.kind: TaskMapPredictor,
    RidgePredictor.kind: RidgePredictor,
    StackPredictor.kind: StackPredictor,
}
"""Those whose pool can change without training."""

PREDICTORS: dict[str, type[StoredPredictor]] = {
    **OPEN,
    MlpPredictor.kind: MlpPredictor,
    ToKnnPredictor.kind: ToKnnPredictor,
}
