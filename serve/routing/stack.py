"""The stacked router (ours): several routers, weighted by what they did on prompts new to them.

What a member says is split in two: how well experts do on this prompt on the whole (the level,
which is how hard it is), and how they differ (the contrast, all that a choice depends on). Each
part is shrunk to its overall mean by weights of its own, found by cross-validation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from serve.protocol import Floats, Likeness, OpenPredictor, Prediction
from serve.routing.clusters import KMeansPredictor, LearnedMapPredictor, TaskMapPredictor
from serve.routing.psi import columns
from serve.routing.ridge import RidgePredictor

MEMBERS: dict[str, type[OpenPredictor]] = {
    KMeansPredictor.kind: KMeansPredictor,
    LearnedMapPredictor.kind: LearnedMapPredictor,
    TaskMapPredictor.kind: TaskMapPredictor,
    RidgePredictor.kind: RidgePredictor,
}
"""What a stack may hold: predictors that take a new expert, so that the stack does."""


@dataclass(frozen=True, eq=False)
class StackPredictor:
    """base + sum over members j of contrast_j * their contrast + level_j * their level.

    Attributes:
        members: J predictors of the same experts.
        base: (E,) mean quality.
        base_tokens: (E,) mean answer length.
        contrast: (J,) weights of how experts differ on a prompt.
        level: (J,) weights of how hard a prompt is.
        tokens: (J,) weights of the answer length.
        centroids: (C, D) of the training vectors; C may be 0.
        distances: (Q,) quantiles of a training prompt's distance to its nearest centroid.
    """

    kind: ClassVar[str] = "stack"
    members: tuple[OpenPredictor, ...]
    base: Floats
    base_tokens: Floats
    contrast: Floats
    level: Floats
    tokens: Floats
    centroids: Floats
    distances: Floats

    @property
    def experts(self) -> tuple[str, ...]:
        """Expert ids, the order of the columns."""
        return self.members[0].experts

    def predict(self, vectors: Floats) -> Prediction:
        """(B, D) -> (B, E), quality within 0..1, tokens at least 1."""
        said = [member.predict(vectors) for member in self.members]
        quality = combine([s.quality - self.base for s in said], self.contrast, self.level)
        tokens = self.base_tokens + weighted(
            [s.output_tokens - self.base_tokens for s in said], self.tokens
        )
        return Prediction(
            np.clip(self.base + quality, 0, 1), np.maximum(tokens, 1), self.novelty(vectors)
        )

    def novelty(self, vectors: Floats) -> Floats:
        """(B, D) -> (B,): the share of training prompts that lie nearer to a centroid."""
        if not len(self.centroids):
            return np.zeros(len(vectors), dtype=np.float32)
        distance = nearest_distance(vectors, self.centroids)
        rank = np.searchsorted(self.distances, distance) / len(self.distances)
        return np.asarray(rank, dtype=np.float32)

    def add_expert(
        self,
        expert: str,
        vectors: Floats,
        quality: Floats,
        output_tokens: Floats,
        like: Likeness | None = None,
    ) -> Self:
        """Every member adds it; the weights stay."""
        like = like or Likeness.none(len(self.experts), len(quality))
        base = (quality - like.like_quality).mean() + self.base @ like.quality
        length = (output_tokens - like.like_output_tokens).mean()
        length += self.base_tokens @ like.output_tokens
        return replace(
            self,
            members=tuple(
                member.add_expert(expert, vectors, quality, output_tokens, like)
                for member in self.members
            ),
            base=np.append(self.base, np.float32(base)),
            base_tokens=np.append(self.base_tokens, np.float32(length)),
        )

    def keep(self, experts: Sequence[str]) -> Self:
        """Those experts alone."""
        at = columns(self.experts, tuple(experts))
        return replace(
            self,
            members=tuple(member.keep(experts) for member in self.members),
            base=self.base[at],
            base_tokens=self.base_tokens[at],
        )

    def arrays(self) -> dict[str, Floats]:
        """What an artifact keeps as tensors; a member's carry its number."""
        own = ("base", "base_tokens", "contrast", "level", "tokens", "centroids", "distances")
        arrays = {name: vars(self)[name] for name in own}
        for number, member in enumerate(self.members):
            arrays |= {f"{number}.{name}": array for name, array in member.arrays().items()}
        return arrays

    def params(self) -> dict[str, Any]:
        """What an artifact keeps as numbers."""
        return {"members": [{"kind": m.kind, "params": m.params()} for m in self.members]}

    @classmethod
    def restore(
        cls, experts: Sequence[str], arrays: Mapping[str, Floats], params: Mapping[str, Any]
    ) -> Self:
        """The inverse of arrays() and params(); KeyError where one is missing."""
        members = []
        for number, member in enumerate(params["members"]):
            start = f"{number}."
            own = {
                name.removeprefix(start): a for name, a in arrays.items() if name.startswith(start)
            }
            members.append(MEMBERS[member["kind"]].restore(experts, own, member["params"]))
        names = ("base", "base_tokens", "contrast", "level", "tokens", "centroids", "distances")
        return cls(tuple(members), *(arrays[name] for name in names))


def combine(deviations: Sequence[Floats], contrast: Floats, level: Floats) -> Floats:
    """J deviations (B, E) from the base -> their weighted contrast plus their weighted level."""
    total = np.zeros_like(deviations[0])
    for deviation, by_contrast, by_level in zip(deviations, contrast, level, strict=True):
        mean = deviation.mean(axis=1, keepdims=True)
        total += by_contrast * (deviation - mean) + by_level * mean
    return total


def weighted(deviations: Sequence[Floats], weights: Floats) -> Floats:
    """J deviations (B, E) -> their weighted sum."""
    total = np.zeros_like(deviations[0])
    for deviation, weight in zip(deviations, weights, strict=True):
        total += weight * deviation
    return total


def nearest_distance(vectors: Floats, centroids: Floats) -> Floats:
    """(B, D) and (C, D) -> (B,) distance to the nearest centroid."""
    squared = (
        (vectors**2).sum(axis=1, keepdims=True)
        - 2 * vectors @ centroids.T
        + (centroids**2).sum(axis=1)
    )
    return np.asarray(np.sqrt(np.maximum(squared.min(axis=1), 0)), dtype=np.float32)
