"""The nouns every room speaks, and the two seams: Encoder and Predictor.

Knows nothing of Ray, vLLM, torch or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]

AUTO = "auto"
"""The model name that asks for a routed answer."""


@dataclass(frozen=True)
class Expert:
    """An LLM that can be picked, with its price in US dollars per million tokens."""

    id: str
    usd_per_million_input: float = 0.0
    usd_per_million_output: float = 0.0

    def cost_usd(self, input_tokens: float, output_tokens: float) -> float:
        """Dollars for one answer of that many tokens."""
        return (
            input_tokens * self.usd_per_million_input + output_tokens * self.usd_per_million_output
        ) / 1e6


@dataclass(frozen=True)
class Query:
    """What the router reads of one request.

    Attributes:
        text: the routing text (encoding/prompt.py).
        input_tokens: estimated tokens of the whole prompt.
        max_output_tokens: the client's own limit, or None.
    """

    text: str
    input_tokens: int
    max_output_tokens: int | None = None


@dataclass(frozen=True)
class Prediction:
    """A predictor's answer for B queries and E experts.

    Attributes:
        quality: (B, E), expected quality, 0..1.
        output_tokens: (B, E), expected tokens of the answer.
        novelty: (B,) share of the training prompts that lie nearer to the others than this one
            does, 0..1; None from a predictor that does not measure it.
    """

    quality: Floats
    output_tokens: Floats
    novelty: Floats | None = None


@dataclass(frozen=True)
class Likeness:
    """How n answers of a new expert go along with what E known experts did on the same prompts.

    Attributes:
        quality: (E,) weights, by which the known ones' quality is added up.
        output_tokens: (E,) weights of their answers' lengths.
        like_quality: (n,) what that sum says of the new expert's quality.
        like_output_tokens: (n,) and of its answers' lengths.
    """

    quality: Floats
    output_tokens: Floats
    like_quality: Floats
    like_output_tokens: Floats

    @classmethod
    def none(cls, experts: int, answers: int) -> Likeness:
        """Like no other: every weight is 0."""
        weights, sums = np.zeros(experts, np.float32), np.zeros(answers, np.float32)
        return cls(weights, weights, sums, sums)


@dataclass(frozen=True)
class Candidate:
    """One expert as the router saw it for one query."""

    expert: str
    quality: float
    cost_usd: float
    utility: float


@dataclass(frozen=True)
class Decision:
    """Where one query goes: candidates by falling utility, and the router that said so.

    Headers, metrics, /v1/route and dispatch all read this one object.

    Attributes:
        candidates: the whole pool.
        router: name and version of the artifact.
        objective: the formula behind `utility`.
        guarded: True where the guard put the experts' overall means in place of the router's
            predictions (routing/guard.py).
        novelty: see Prediction.
    """

    candidates: tuple[Candidate, ...]
    router: str
    objective: str
    guarded: bool = False
    novelty: float | None = None

    @property
    def pick(self) -> Candidate:
        """The expert to ask."""
        return self.candidates[0]


class Encoder(Protocol):
    """Turns routing texts into vectors; synchronous, called off the event loop."""

    @property
    def name(self) -> str:
        """Identity of the weights; an artifact trained on another name is refused."""
        ...

    @property
    def dimension(self) -> int:
        """Width D of a vector."""
        ...

    def encode(self, texts: Sequence[str]) -> Floats:
        """(B,) texts -> (B, D) vectors of unit length, in one forward pass."""
        ...


class Predictor(Protocol):
    """Expected quality and answer length of every expert, from vectors alone."""

    @property
    def experts(self) -> tuple[str, ...]:
        """Expert ids, the order of the E columns."""
        ...

    def predict(self, vectors: Floats) -> Prediction:
        """(B, D) vectors -> (B, E) predictions."""
        ...


class StoredPredictor(Predictor, Protocol):
    """A predictor that an artifact can keep; the registry holds one class for each kind."""

    kind: ClassVar[str]

    def arrays(self) -> dict[str, Floats]:
        """What an artifact keeps as tensors."""
        ...

    def params(self) -> dict[str, Any]:
        """What an artifact keeps as numbers."""
        ...

    @classmethod
    def restore(
        cls, experts: Sequence[str], arrays: Mapping[str, Floats], params: Mapping[str, Any]
    ) -> Self:
        """The inverse of arrays() and params(); KeyError where one is missing."""
        ...


class OpenPredictor(StoredPredictor, Protocol):
    """A predictor whose pool can change without training it again."""

    def add_expert(
        self,
        expert: str,
        vectors: Floats,
        quality: Floats,
        output_tokens: Floats,
        like: Likeness | None = None,
    ) -> Self:
        """This predictor with one more column, learned from representative prompts alone.

        The known experts' columns rest on far more answers. So where it is told what the new one
        has in common with them, its column is their weighted sum, and only what they leave
        unexplained is learned from its own few answers.

        Args:
            expert: its id.
            vectors: (n, D) of the prompts it was measured on.
            quality: (n,), 0..1.
            output_tokens: (n,).
            like: the known experts, in the order of `experts`; None: like none of them. A
                predictor that looks answers up has no use for it.
        """
        ...

    def keep(self, experts: Sequence[str]) -> Self:
        """This predictor for those experts alone, in that order."""
        ...
