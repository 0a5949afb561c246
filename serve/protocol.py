"""The nouns every room speaks, and the two seams: Encoder and Predictor.

Knows nothing of Ray, vLLM, torch or files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serve.terms import Abilities, Bar, Needs, Wish

Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]

Lap: TypeAlias = Callable[[str], None]
"""Told each time that a stage of a decision ends: tokenise, embed, predict, choose."""


def unheard(_stage: str) -> None:
    """The Lap of whoever does not measure."""


AUTO = "auto"
"""The model name that asks for a routed answer."""


@dataclass(frozen=True)
class Expert:
    """An LLM that can be picked, with its price in US dollars per million tokens.

    Attributes:
        id: the name clients use.
        usd_per_million_input: price of the prompt.
        usd_per_million_output: price of the answer.
        abilities: see there.
        local: False for one that runs elsewhere: what must not leave does not go there.
    """

    id: str
    usd_per_million_input: float = 0.0
    usd_per_million_output: float = 0.0
    abilities: Abilities = field(default_factory=Abilities)
    local: bool = True

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
        wish: what the request asks of its routing.
        needs: what its expert must be able to do.
        share: of every expert's queue that this request may fill, 0..1.
        bound_to: expert that a tool loop is under way with: no other may answer.
        previous: expert that answered the turn before; None: none did, or it is not known.
        previous_text: the routing text of that turn, to decide again who answered it where
            `previous` is not known; None: this is the first turn.
        prefix_tokens: of the conversation up to that turn, which another expert would read anew.
    """

    text: str
    input_tokens: int
    max_output_tokens: int | None = None
    wish: Wish = field(default_factory=Wish)
    needs: Needs = field(default_factory=Needs)
    share: float = 1.0
    bound_to: str | None = None
    previous: str | None = None
    previous_text: str | None = None
    prefix_tokens: int = 0


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
    """One expert as the router saw it for one query; every term of its rank.

    Attributes:
        expert: id.
        quality: expected, 0..1.
        cost_usd: expected, of prompt and answer.
        utility: what the pick maximises.
        input_tokens: of the prompt, by this expert's tokenizer where it is known.
        output_tokens: expected.
        seconds: expected time of the whole answer under the load of now, wake-up included.
        switch_usd: of reading the conversation anew; 0 for the expert that answered before.
        wake_s: seconds of that until it has a replica; 0: it does not sleep.
        bar: why it may not be asked; None: it may.
    """

    expert: str
    quality: float
    cost_usd: float
    utility: float
    input_tokens: int = 0
    output_tokens: float = 0.0
    seconds: float = 0.0
    switch_usd: float = 0.0
    wake_s: float = 0.0
    bar: Bar | None = None


@dataclass(frozen=True)
class Decision:
    """Where one query goes: candidates in the order to ask them, and the router that said so.

    Headers, metrics, /v1/route and dispatch all read this one object.

    Attributes:
        candidates: the whole pool; those that may not be asked come last.
        router: name and version of the artifact.
        objective: the formula behind `utility`.
        rule: what it takes to rank the candidates anew: the objective's `kind` and numbers, those
            of the Policy (routing/choice.py), the `pool` in its order, by which ties go, and
            `exchange`, which turns a tradeoff into a lambda.
        previous: who answered the turn before, as far as is known.
        guarded: True where the guard put the experts' overall means in place of the router's
            predictions (routing/guard.py).
        novelty: see Prediction.
    """

    candidates: tuple[Candidate, ...]
    router: str
    objective: str
    guarded: bool = False
    novelty: float | None = None
    rule: Mapping[str, Any] = field(default_factory=dict)
    previous: str | None = None

    @property
    def pick(self) -> Candidate:
        """The expert to ask first; may be barred, where all are."""
        return self.candidates[0]

    @property
    def open(self) -> tuple[Candidate, ...]:
        """Those that may be asked, in this order."""
        return tuple(candidate for candidate in self.candidates if candidate.bar is None)


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

    def encode(self, texts: Sequence[str], lap: Lap = unheard) -> Floats:
        """(B,) texts -> (B, D) vectors of unit length, in one forward pass."""
        ...


class TokenCounter(Protocol):
    """Counts the tokens of prompts, by the tokenizers of those experts that have one here."""

    def count(self, texts: Sequence[str]) -> dict[str, Doubles]:
        """(B,) texts -> expert id -> (B,) tokens, the chat template's own among them."""
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
