"""Routers of the form quality = Phi(x) . Psi: a prompt by its clusters, an expert by its means.

UniRoute (arXiv 2502.08773): Phi is learned once, and Psi of a new expert takes only its answers to
a few hundred prompts, so the pool can change without training. The three kinds differ in Phi.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from serve.protocol import Floats, Likeness, Prediction
from serve.routing.psi import columns, validated_means


@dataclass(frozen=True, eq=False)
class ClusterPredictor(ABC):
    """What the three kinds share.

    Attributes:
        experts: E ids.
        psi: (K, E), mean quality of each expert in each cluster.
        psi_tokens: (K, E), mean answer length.
    """

    experts: tuple[str, ...]
    psi: Floats
    psi_tokens: Floats

    @abstractmethod
    def phi(self, vectors: Floats) -> Floats:
        """(B, D) -> (B, K) memberships; rows sum to 1."""

    def predict(self, vectors: Floats) -> Prediction:
        """(B, D) -> (B, E) means of the clusters that the prompts belong to."""
        phi = self.phi(vectors)
        return Prediction(phi @ self.psi, phi @ self.psi_tokens)

    def add_expert(
        self,
        expert: str,
        vectors: Floats,
        quality: Floats,
        output_tokens: Floats,
        like: Likeness | None = None,
    ) -> Self:
        """One more column of Psi, from the prompts the expert was measured on, none of them NaN."""
        like = like or Likeness.none(len(self.experts), len(quality))
        phi = self.phi(vectors)
        psi = validated_means(phi, (quality - like.like_quality)[:, None])
        tokens = validated_means(phi, (output_tokens - like.like_output_tokens)[:, None])
        psi += self.psi @ like.quality[:, None]
        tokens += self.psi_tokens @ like.output_tokens[:, None]
        return replace(
            self,
            experts=(*self.experts, expert),
            psi=np.hstack([self.psi, psi]),
            psi_tokens=np.hstack([self.psi_tokens, tokens]),
        )

    def keep(self, experts: Sequence[str]) -> Self:
        """Those columns of Psi."""
        at = columns(self.experts, tuple(experts))
        return replace(
            self,
            experts=tuple(experts),
            psi=self.psi[:, at],
            psi_tokens=self.psi_tokens[:, at],
        )

    def params(self) -> dict[str, Any]:
        """What an artifact keeps as numbers: none."""
        return {}


@dataclass(frozen=True, eq=False)
class KMeansPredictor(ClusterPredictor):
    """Phi is one-hot: the nearest of K centroids of the training prompts.

    Attributes:
        centroids: (K, D).
    """

    kind: ClassVar[str] = "kmeans"
    centroids: Floats

    def phi(self, vectors: Floats) -> Floats:
        """One at the nearest centroid."""
        # |v - c|^2 less |v|^2, which does not change which is nearest.
        distance = (self.centroids**2).sum(axis=1) - 2 * vectors @ self.centroids.T
        one_hot = np.eye(len(self.centroids), dtype=np.float32)
        return np.asarray(one_hot[distance.argmin(axis=1)])

    def arrays(self) -> dict[str, Floats]:
        """What an artifact keeps as tensors."""
        return {"psi": self.psi, "psi_tokens": self.psi_tokens, "centroids": self.centroids}

    @classmethod
    def restore(
        cls, experts: Sequence[str], arrays: Mapping[str, Floats], params: Mapping[str, Any]
    ) -> Self:
        """The inverse of arrays() and params(); KeyError where one is missing."""
        return cls(
            tuple(experts),
            arrays["psi"],
            arrays["psi_tokens"],
            arrays["centroids"],
        )


@dataclass(frozen=True, eq=False)
class LearnedMapPredictor(ClusterPredictor):
    """Phi is a softmax of a linear map, trained on which experts were right where.

    Attributes:
        theta: (D, K).
        bias: (K,).
    """

    kind: ClassVar[str] = "learned_map"
    theta: Floats
    bias: Floats

    def phi(self, vectors: Floats) -> Floats:
        """softmax(v . theta + bias)."""
        logits = vectors @ self.theta + self.bias
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=1, keepdims=True)
        return np.asarray(logits, dtype=np.float32)

    def arrays(self) -> dict[str, Floats]:
        """What an artifact keeps as tensors."""
        return {
            "psi": self.psi,
            "psi_tokens": self.psi_tokens,
            "theta": self.theta,
            "bias": self.bias,
        }

    @classmethod
    def restore(
        cls, experts: Sequence[str], arrays: Mapping[str, Floats], params: Mapping[str, Any]
    ) -> Self:
        """The inverse of arrays() and params(); KeyError where one is missing."""
        return cls(
            tuple(experts),
            arrays["psi"],
            arrays["psi_tokens"],
            arrays["theta"],
            arrays["bias"],
        )


@dataclass(frozen=True, eq=False)
class TaskMapPredictor(LearnedMapPredictor):
    """The clusters are the tasks that the training table names, Phi recognises them (ours)."""

    kind: ClassVar[str] = "task_map"
