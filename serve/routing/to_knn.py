"""TO-Router's kNN (arXiv 2408.12320): the mean soft label of the nearest training prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from serve.protocol import Floats, Prediction
from serve.routing.knn import nearest
from serve.routing.soft_labels import quality_of


@dataclass(frozen=True, eq=False)
class ToKnnPredictor:
    """Cosine neighbours, no shrinkage.

    Attributes:
        experts: E ids.
        vectors: (N, D) of the training prompts.
        labels: (N, E) soft labels.
        mean_tokens: (E,) mean answer length.
        k: neighbours.
        level: mean quality of the training answers.
        temperature: of the soft labels.
        score_scale: of the soft labels.
    """

    kind: ClassVar[str] = "to_knn"
    experts: tuple[str, ...]
    vectors: Floats
    labels: Floats
    mean_tokens: Floats
    k: int
    level: float
    temperature: float
    score_scale: float

    def predict(self, vectors: Floats) -> Prediction:
        """(B, D) -> (B, E)."""
        near = nearest(vectors @ self.vectors.T, self.k)
        label = near @ self.labels / near.sum(axis=1, keepdims=True)
        quality = quality_of(
            np.log(label + 1e-9),
            self.level,
            temperature=self.temperature,
            score_scale=self.score_scale,
        )
        return Prediction(quality, np.tile(self.mean_tokens, (len(vectors), 1)))

    def arrays(self) -> dict[str, Floats]:
        """What an artifact keeps as tensors."""
        return {name: vars(self)[name] for name in ("vectors", "labels", "mean_tokens")}

    def params(self) -> dict[str, Any]:
        """What an artifact keeps as numbers."""
        return {name: vars(self)[name] for name in ("k", "level", "temperature", "score_scale")}

    @classmethod
    def restore(
        cls, experts: Sequence[str], arrays: Mapping[str, Floats], params: Mapping[str, Any]
    ) -> Self:
        """The inverse of arrays() and params(); KeyError where one is missing."""
        return cls(
            tuple(experts),
            arrays["vectors"],
            arrays["labels"],
            arrays["mean_tokens"],
            int(params["k"]),
            float(params["level"]),
            float(params["temperature"]),
            float(params["score_scale"]),
        )
