"""The constant router: the same prediction for every prompt (UniRoute's ZeroRouter, K = 1).

Serves where the settings name no artifact, and is the baseline every other router must beat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from serve.protocol import Floats, Likeness, Prediction
from serve.routing.psi import columns


class ConstantPredictor:
    """Mean quality (E,) and mean answer length (E,) of each expert, whatever the prompt."""

    kind: ClassVar[str] = "constant"

    def __init__(self, experts: Sequence[str], quality: Floats, output_tokens: Floats) -> None:
        self._experts = tuple(experts)
        self._quality = np.asarray(quality, dtype=np.float32)
        self._output_tokens = np.asarray(output_tokens, dtype=np.float32)

    @property
    def experts(self) -> tuple[str, ...]:
        """Expert ids, the order of the columns."""
        return self._experts

    def predict(self, vectors: Floats) -> Prediction:
        """(B, D) -> the same row B times."""
        rows = len(vectors)
        return Prediction(
            np.tile(self._quality, (rows, 1)), np.tile(self._output_tokens, (rows, 1))
        )

    def add_expert(
        self,
        expert: str,
        vectors: Floats,
        quality: Floats,
        output_tokens: Floats,
        like: Likeness | None = None,
    ) -> ConstantPredictor:
        """One more mean."""
        like = like or Likeness.none(len(self._experts), len(quality))
        mean = (quality - like.like_quality).mean() + self._quality @ like.quality
        length = (output_tokens - like.like_output_tokens).mean()
        length += self._output_tokens @ like.output_tokens
        return ConstantPredictor(
            (*self._experts, expert),
            np.append(self._quality, np.float32(mean)),
            np.append(self._output_tokens, np.float32(length)),
        )

    def keep(self, experts: Sequence[str]) -> ConstantPredictor:
        """Those means."""
        at = columns(self._experts, tuple(experts))
        return ConstantPredictor(experts, self._quality[at], self._output_tokens[at])

    def arrays(self) -> dict[str, Floats]:
        """What an artifact keeps as tensors."""
        return {"quality": self._quality, "output_tokens": self._output_tokens}

    def params(self) -> dict[str, Any]:
        """What an artifact keeps as numbers."""
        return {}

    @classmethod
    def restore(
        cls, experts: Sequence[str], arrays: Mapping[str, Floats], params: Mapping[str, Any]
    ) -> ConstantPredictor:
        """The inverse of arrays() and params(); KeyError where one is missing."""
        return cls(experts, arrays["quality"], arrays["output_tokens"])
