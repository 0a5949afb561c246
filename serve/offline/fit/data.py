"""What every fit reads and returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from serve.protocol import Doubles, Floats, Prediction, StoredPredictor

Rows: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class TrainingSet:
    """N prompts and E experts, the prompts of training and validation together.

    Attributes:
        experts: E ids.
        texts: N routing texts, for a router that brings its own encoder.
        tasks: (N,) task of each prompt; one name throughout where the table knows none.
        vectors: (N, D), unit length.
        quality: (N, E), 0..1, NaN where not measured.
        output_tokens: (N, E), NaN where not measured.
        cost: (N, E), US dollars of each answer, complete.
        validation: (N,) True on the prompts kept for choosing hyper-parameters.
    """

    experts: tuple[str, ...]
    texts: tuple[str, ...]
    tasks: NDArray[np.str_]
    vectors: Floats
    quality: Floats
    output_tokens: Floats
    cost: Doubles
    validation: NDArray[np.bool_]

    def rows(self, chosen: NDArray[np.bool_] | Rows) -> TrainingSet:
        """The chosen prompts, by mask or by number."""
        numbers = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return replace(
            self,
            texts=tuple(self.texts[i] for i in numbers),
            tasks=self.tasks[numbers],
            vectors=self.vectors[numbers],
            quality=self.quality[numbers],
            output_tokens=self.output_tokens[numbers],
            cost=self.cost[numbers],
            validation=self.validation[numbers],
        )

    @property
    def train(self) -> TrainingSet:
        """The prompts a model may be fitted on before its hyper-parameters are chosen."""
        return self.rows(~self.validation)

    @property
    def held(self) -> TrainingSet:
        """The validation prompts."""
        return self.rows(self.validation)


@dataclass(frozen=True)
class Fitted:
    """A fitted predictor, and its predictions for prompts it never saw.

    Attributes:
        predictor: ready for new prompts.
        held_rows: (H,) rows of the TrainingSet.
        held_out: predictions for those rows by models that were fitted without them; what
            lambda, the guard and the calibration are read from.
        chosen: the hyper-parameters that validation chose, for the reader.
        encoder: model directory of the router's own encoder, where it brings one; the predictor
            reads its vectors.
    """

    predictor: StoredPredictor
    held_rows: Rows
    held_out: Prediction
    chosen: Mapping[str, object]
    encoder: Path | None = None


Fit: TypeAlias = Callable[..., Fitted]
"""fit(data: TrainingSet, *, seed: int, **settings) -> Fitted."""


def fitted_on_train(
    predictor: StoredPredictor, data: TrainingSet, chosen: Mapping[str, object]
) -> Fitted:
    """A Fitted whose held-out predictions are those for the validation prompts."""
    rows = np.flatnonzero(data.validation)
    return Fitted(predictor, rows, predictor.predict(data.vectors[rows]), chosen)


def complete(values: Floats) -> tuple[Doubles, Doubles]:
    """(N, E) with gaps -> the same with gaps filled, and the (E,) means.

    A gap is filled by the expert's mean plus what the prompt's other experts deviate from theirs,
    so that it says nothing about how experts differ.
    """
    known = ~np.isnan(values)
    mean = np.nanmean(values.astype(np.float64), axis=0)
    deviation = np.where(known, values - mean, 0.0)
    row = deviation.sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    return np.where(known, values, mean + row), mean
