"""The kNN router: an expert's quality on a prompt is its mean on the k nearest training prompts.

TO-Router's kNN (arXiv 2408.12320) and UniRoute's K-NN special case (arXiv 2502.08773), with one
addition of ours: the local mean is shrunk towards the expert's mean over all prompts, because a
plain kNN often falls below the best single expert.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from serve.protocol import Floats, Prediction


class KnnPredictor:
    """Cosine k-nearest-neighbour regression of quality and answer length.

    Args:
        experts: E ids.
        vectors: (N, D) training vectors of unit length.
        quality: (N, E), 0..1, NaN where not measured.
        output_tokens: (N, E), NaN where not measured.
        k: neighbours, at least 1.
        shrinkage: pseudo-count of the global mean; 0 is the plain kNN.
    """

    kind: ClassVar[str] = "knn"

    def __init__(
        self,
        experts: Sequence[str],
        vectors: Floats,
        quality: Floats,
        output_tokens: Floats,
        *,
        k: int,
        shrinkage: float,
    ) -> None:
        self._experts = tuple(experts)
        self._vectors = np.asarray(vectors, dtype=np.float32)
        self._quality = np.asarray(quality, dtype=np.float32)
        self._output_tokens = np.asarray(output_tokens, dtype=np.float32)
        self._k = min(k, len(self._vectors))
        self._shrinkage = shrinkage
        self._mean_quality = np.nanmean(self._quality, axis=0)
        self._mean_tokens = np.nanmean(self._output_tokens, axis=0)

    @property
    def experts(self) -> tuple[str, ...]:
        """Expert ids, the order of the columns."""
        return self._experts

    def predict(self, vectors: Floats) -> Prediction:
        """(B, D) unit vectors -> (B, E) shrunk neighbour means."""
        similarity = vectors @ self._vectors.T  # [batch, train]
        nearest = np.argpartition(-similarity, self._k - 1, axis=1)[:, : self._k]
        return Prediction(
            self._shrunk_mean(self._quality[nearest], self._mean_quality),
            self._shrunk_mean(self._output_tokens[nearest], self._mean_tokens),
        )

    def _shrunk_mean(self, local: Floats, overall: Floats) -> Floats:
        """(B, k, E) neighbours' values and the (E,) means over all prompts -> (B, E)."""
        measured = np.sum(~np.isnan(local), axis=1)
        deviation = np.nansum(local - overall, axis=1)
        mean = overall + deviation / np.maximum(measured + self._shrinkage, 1)
        return np.asarray(mean, dtype=np.float32)

    def arrays(self) -> dict[str, Floats]:
        """What an artifact keeps as tensors."""
        return {
            "vectors": self._vectors,
            "quality": self._quality,
            "output_tokens": self._output_tokens,
        }

    def params(self) -> dict[str, Any]:
        """What an artifact keeps as numbers."""
        return {"k": self._k, "shrinkage": self._shrinkage}

    @classmethod
    def restore(
        cls, experts: Sequence[str], arrays: Mapping[str, Floats], params: Mapping[str, Any]
    ) -> KnnPredictor:
        """The inverse of arrays() and params(); KeyError where one is missing."""
        return cls(
            experts,
            arrays["vectors"],
            arrays["quality"],
            arrays["output_tokens"],
            k=int(params["k"]),
            shrinkage=float(params["shrinkage"]),
        )
