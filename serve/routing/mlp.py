"""TO-Router's MLP (arXiv 2408.12320): a classifier over experts, trained on soft labels.

Without a hidden layer it is the head of the BERT router, whose encoder is its own. An E-way head
has to be trained again for a new expert.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from serve.protocol import Floats, Prediction
from serve.routing.soft_labels import quality_of


@dataclass(frozen=True, eq=False)
class MlpPredictor:
    """softmax(relu(v . hidden + hidden_bias) . head + head_bias), read back as quality.

    Attributes:
        experts: E ids.
        hidden: (D, H), or (D, 0) for no hidden layer.
        hidden_bias: (H,).
        head: (H or D, E).
        head_bias: (E,).
        mean_tokens: (E,) mean answer length.
        level: mean quality of the training answers.
        temperature: of the soft labels.
        score_scale: of the soft labels.
    """

    kind: ClassVar[str] = "mlp"
    experts: tuple[str, ...]
    hidden: Floats
    hidden_bias: Floats
    head: Floats
    head_bias: Floats
    mean_tokens: Floats
    level: float
    temperature: float
    score_scale: float

    def predict(self, vectors: Floats) -> Prediction:
        """(B, D) -> (B, E)."""
        inner = vectors
        if self.hidden.shape[1]:
            inner = np.maximum(vectors @ self.hidden + self.hidden_bias, 0)
        logits = inner @ self.head + self.head_bias
        # quality_of takes out each row's mean, and with it log Z.
        quality = quality_of(
            logits, self.level, temperature=self.temperature, score_scale=self.score_scale
        )
        return Prediction(quality, np.tile(self.mean_tokens, (len(vectors), 1)))

    def arrays(self) -> dict[str, Floats]:
        """What an artifact keeps as tensors."""
        names = ("hidden", "hidden_bias", "head", "head_bias", "mean_tokens")
        return {name: vars(self)[name] for name in names}

    def params(self) -> dict[str, Any]:
        """What an artifact keeps as numbers."""
        names = ("level", "temperature", "score_scale")
        return {name: vars(self)[name] for name in names}

    @classmethod
    def restore(
        cls, experts: Sequence[str], arrays: Mapping[str, Floats], params: Mapping[str, Any]
    ) -> Self:
        """The inverse of arrays() and params(); KeyError where one is missing."""
        return cls(
            tuple(experts),
            arrays["hidden"],
            arrays["hidden_bias"],
            arrays["head"],
            arrays["head_bias"],
            arrays["mean_tokens"],
            float(params["level"]),
            float(params["temperature"]),
            float(params["score_scale"]),
        )
