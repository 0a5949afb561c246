"""The kNN router: an expert's quality on a prompt is its mean on the k nearest training prompts.

TO-Router's kNN (arXiv 2408.12320) and UniRoute's K-NN special case (arXiv 2502.08773), with one
addition of ours: the local mean is shrunk towards the expert's mean over all prompts, because a
plain kNN often falls below the best single expert.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from serve.protocol import Floats, Likeness, Prediction
from serve.routing.psi import columns


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
        self._k = k
        self._shrinkage = shrinkage
        self._mean_quality = np.nanmean(self._quality, axis=0)
        self._mean_tokens = np.nanmean(self._output_tokens, axis=0)

    @property
    def experts(self) -> tuple[str, ...]:
        """Expert ids, the order of the columns."""
        return self._experts

    def predict(self, vectors: Floats) -> Prediction:
        """(B, D) unit vectors -> (B, E) shrunk neighbour means.

        The neighbours of an expert are prompts that it was measured on.
        """
        similarity = vectors @ self._vectors.T  # [batch, train]
        quality = np.empty((len(vectors), len(self._experts)), dtype=np.float32)
        tokens = np.empty_like(quality)
        measured = ~np.isnan(self._quality)
        for pattern in np.unique(measured, axis=1).T:
            same = (measured == pattern[:, None]).all(axis=0)
            rows = np.flatnonzero(pattern)
            near = nearest(similarity if pattern.all() else similarity[:, rows], self._k)
            quality[:, same] = self._shrunk_mean(
                near, self._quality[rows][:, same], self._mean_quality[same]
            )
            tokens[:, same] = self._shrunk_mean(
                near, self._output_tokens[rows][:, same], self._mean_tokens[same]
            )
        return Prediction(quality, tokens)

    def _shrunk_mean(self, near: Floats, values: Floats, overall: Floats) -> Floats:
        """(B, N) neighbours marked 1, (N, E) values and their (E,) overall means -> (B, E)."""
        measured = ~np.isnan(values)
        deviation = near @ np.where(measured, values - overall, 0)
        count = near @ measured.astype(np.float32)
        mean = overall + deviation / np.maximum(count + self._shrinkage, 1)
        return np.asarray(mean, dtype=np.float32)

    def add_expert(
        self,
        expert: str,
        vectors: Floats,
        quality: Floats,
        output_tokens: Floats,
        like: Likeness | None = None,
    ) -> KnnPredictor:
        """One more column; its neighbours are the prompts it was measured on, and only those."""
        blank = np.full((len(vectors), len(self._experts)), np.nan, dtype=np.float32)
        unmeasured = np.full((len(self._vectors), 1), np.nan, dtype=np.float32)

        def grown(known: Floats, new: Floats) -> Floats:
            column = np.vstack([unmeasured, new[:, None].astype(np.float32)])
            return np.hstack([np.vstack([known, blank]), column])

        return KnnPredictor(
            (*self._experts, expert),
            np.vstack([self._vectors, vectors]),
            grown(self._quality, quality),
            grown(self._output_tokens, output_tokens),
            k=self._k,
            shrinkage=self._shrinkage,
        )

    def keep(self, experts: Sequence[str]) -> KnnPredictor:
        """Those columns, and the prompts that any of them was measured on."""
        at = columns(self._experts, tuple(experts))
        rows = ~np.isnan(self._quality[:, at]).all(axis=1)
        return KnnPredictor(
            experts,
            self._vectors[rows],
            self._quality[rows][:, at],
            self._output_tokens[rows][:, at],
            k=self._k,
            shrinkage=self._shrinkage,
        )

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


def nearest(similarity: Floats, k: int) -> Floats:
    """(B, N) similarities -> (B, N), 1 at the k nearest and at what is just as near, else 0.

    As a matrix, so that the sum over neighbours is a product.
    """
    k = min(k, similarity.shape[1])
    least = np.partition(similarity, -k, axis=1)[:, -k, None]
    return (similarity >= least).astype(np.float32)
