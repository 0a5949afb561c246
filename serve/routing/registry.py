"""The predictors an artifact may name, one line each."""

from __future__ import annotations

from serve.protocol import StoredPredictor
from serve.routing.constant import ConstantPredictor
from serve.routing.knn import KnnPredictor

PREDICTORS: dict[str, type[StoredPredictor]] = {
    ConstantPredictor.kind: ConstantPredictor,
    KnnPredictor.kind: KnnPredictor,
}
