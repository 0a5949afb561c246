"""The guard: where the evidence for the router is thin, the best constant serves (ours).

A learned router often loses to always using one good expert. So the artifact records, for each
lambda, a lower confidence bound on what the router's picks earn above the best constant's, on
prompts the router had not seen; where that bound is not above zero, or a prompt is unlike any the
router was trained on, the constant decides.

At a given lambda the best random mixture of experts earns no more than the best expert of it, since
utility is linear: to beat the best constant is to beat the best constant mixture of that cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serve.protocol import Doubles, Floats, Prediction


@dataclass(frozen=True, eq=False)
class Guard:
    """What held-out prompts said, over L lambdas that rise from 0.

    Attributes:
        lam: (L,) quality that one dollar is worth.
        cost: (L,) mean dollars of the router's picks there.
        lower: (L,) lower bound, one-sided at `confidence`, of the mean utility that the router's
            picks earn above the best constant's.
        confidence: of that bound.
        prompts: how many held-out prompts it rests on.
        quality: (E,) mean quality of each expert, what the constant goes by.
        output_tokens: (E,) mean answer length.
        mean_cost: (E,) mean dollars of an answer.
    """

    lam: Floats
    cost: Floats
    lower: Floats
    confidence: float
    prompts: int
    quality: Floats
    output_tokens: Floats
    mean_cost: Floats

    def trusts(self, lam: float) -> bool:
        """Whether the router may decide at this lambda; beyond the last one, as there."""
        return bool(np.interp(lam, self.lam, self.lower) > 0)

    def constant(self, lam: float) -> int:
        """Column of the expert that earns the most utility on the mean prompt."""
        return int((self.quality - lam * self.mean_cost).argmax())

    def holds(self, prediction: Prediction, lam: float | Doubles) -> NDArray[np.bool_]:
        """(B,) True where the constant decides: at its lambda, one or (B,), or so new a prompt."""
        trusted = np.interp(lam, self.lam, self.lower) > 0
        held = ~np.broadcast_to(trusted, len(prediction.quality))
        if prediction.novelty is not None:
            held |= prediction.novelty >= 1
        return held

    @property
    def exchange(self) -> float:
        """Quality per dollar: the pool's spread of mean quality over that of mean cost."""
        dollars = float(np.ptp(self.mean_cost))
        return float(np.ptp(self.quality)) / dollars if dollars > 0 else 0.0

    def apply(self, prediction: Prediction, held: NDArray[np.bool_]) -> Prediction:
        """The prediction, with every expert's means in the rows that are held."""
        rows = held[:, None]
        return Prediction(
            np.where(rows, self.quality, prediction.quality),
            np.where(rows, self.output_tokens, prediction.output_tokens),
            prediction.novelty,
        )

    def arrays(self) -> dict[str, Floats]:
        """What an artifact keeps as tensors."""
        names = ("lam", "cost", "lower", "quality", "output_tokens", "mean_cost")
        return {f"guard.{name}": np.asarray(vars(self)[name], dtype=np.float32) for name in names}

    def params(self) -> dict[str, Any]:
        """What an artifact keeps as numbers."""
        return {"confidence": self.confidence, "prompts": self.prompts}

    @classmethod
    def restore(cls, arrays: Mapping[str, Floats], params: Mapping[str, Any]) -> Self:
        """The inverse of arrays() and params(); KeyError where one is missing."""
        return cls(
            arrays["guard.lam"],
            arrays["guard.cost"],
            arrays["guard.lower"],
            float(params["confidence"]),
            int(params["prompts"]),
            arrays["guard.quality"],
            arrays["guard.output_tokens"],
            arrays["guard.mean_cost"],
        )
