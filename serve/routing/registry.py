"""The predictors an artifact may name, one line each."""

from __future__ import annotations

from serve.routing.constant import ConstantPredictor
from serve.routing.knn import KnnPredictor

PREDICTORS = {
    ConstantPredictor.kind: ConstantPredictor,
    KnnPredictor.kind: KnnPredictor,
}
