"""The ridge router: quality and answer length as regularised linear functions of the vector.

The plainest head there is; RELATED.md-like comparisons of the field find that it keeps up with the
fancy ones. It is RouterBench's (arXiv 2403.12031) linear baseline in spirit, in closed form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from serve.protocol import Doubles, Floats, Likeness, Prediction
from serve.routing.psi import columns


@dataclass(frozen=True, eq=False)
class RidgePredictor:
    """mean + (v - centre) . weights, for quality and for output tokens.

    Attributes:
        experts: E ids.
        centre: (D,) mean training vector.
        weights: (D, E).
        mean: (E,) mean quality.
        weights_tokens: (D, E).
        mean_tokens: (E,) mean answer length.
        alpha: penalty on the squared weights, for a new expert too.
    """

    kind: ClassVar[str] = "ridge"
    experts: tuple[str, ...]
    centre: Floats
    weights: Floats
    mean: Floats
    weights_tokens: Floats
    mean_tokens: Floats
    alpha: float

    def predict(self, vectors: Floats) -> Prediction:
        """(B, D) -> (B, E)."""
        return Prediction(
            vectors @ self.weights + (self.mean - self.centre @ self.weights),
            vectors @ self.weights_tokens + (self.mean_tokens - self.centre @ self.weights_tokens),
        )

    def add_expert(
        self,
        expert: str,
        vectors: Floats,
        quality: Floats,
        output_tokens: Floats,
        like: Likeness | None = None,
    ) -> Self:
        """One more column, by the same penalty on the prompts the expert was measured on."""
        like = like or Likeness.none(len(self.experts), len(quality))
        rest = np.stack(
            [quality - like.like_quality, output_tokens - like.like_output_tokens], axis=1
        ).astype(np.float64)
        mean = rest.mean(axis=0)
        weights = _solved(vectors - self.centre, rest - mean, self.alpha).astype(np.float32)
        column = self.weights @ like.quality + weights[:, 0]
        column_tokens = self.weights_tokens @ like.output_tokens + weights[:, 1]
        return replace(
            self,
            experts=(*self.experts, expert),
            weights=np.column_stack([self.weights, column]),
            mean=np.append(self.mean, np.float32(mean[0] + self.mean @ like.quality)),
            weights_tokens=np.column_stack([self.weights_tokens, column_tokens]),
            mean_tokens=np.append(
                self.mean_tokens, np.float32(mean[1] + self.mean_tokens @ like.output_tokens)
            ),
        )

    def keep(self, experts: Sequence[str]) -> Self:
        """Those columns."""
        at = columns(self.experts, tuple(experts))
        return replace(
            self,
            experts=tuple(experts),
            weights=self.weights[:, at],
            mean=self.mean[at],
            weights_tokens=self.weights_tokens[:, at],
            mean_tokens=self.mean_tokens[at],
        )

    def arrays(self) -> dict[str, Floats]:
        """What an artifact keeps as tensors."""
        names = ("centre", "weights", "mean", "weights_tokens", "mean_tokens")
        return {name: vars(self)[name] for name in names}

    def params(self) -> dict[str, Any]:
        """What an artifact keeps as numbers."""
        return {"alpha": self.alpha}

    @classmethod
    def restore(
        cls, experts: Sequence[str], arrays: Mapping[str, Floats], params: Mapping[str, Any]
    ) -> Self:
        """The inverse of arrays() and params(); KeyError where one is missing."""
        return cls(
            tuple(experts),
            arrays["centre"],
            arrays["weights"],
            arrays["mean"],
            arrays["weights_tokens"],
            arrays["mean_tokens"],
            float(params["alpha"]),
        )


def _solved(x: Floats, y: Doubles, alpha: float) -> Doubles:
    """(n, D) and (n, T) -> (D, T) ridge weights, by the smaller of the two equal systems."""
    few = len(x) < x.shape[1]
    gram = ((x @ x.T) if few else (x.T @ x)).astype(np.float64)
    gram += alpha * np.eye(len(gram))
    return np.asarray(x.T @ np.linalg.solve(gram, y) if few else np.linalg.solve(gram, x.T @ y))
