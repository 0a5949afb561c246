"""Calibration: what a router predicted beside what was measured, in bins of the prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from serve.protocol import Doubles, Floats

BINS = 10


@dataclass(frozen=True)
class Reliability:
    """Ten bins of predicted quality, every expert's predictions together.

    Attributes:
        said: (10,) sum of predictions in the bin.
        true: (10,) sum of measured quality.
        count: (10,) of predictions.
    """

    said: Doubles
    true: Doubles
    count: Doubles

    @property
    def error(self) -> float:
        """Expected calibration error (Naeini et al. 2015): mean gap, weighted by count."""
        return float(np.abs(self.said - self.true).sum() / self.count.sum())

    def means(self) -> tuple[Doubles, Doubles, Doubles]:
        """(K,) mean predicted, mean measured and share, of the bins that hold any."""
        full = self.count > 0
        count = self.count[full]
        return self.said[full] / count, self.true[full] / count, count / count.sum()


def reliability(predicted: Floats, quality: Doubles) -> Reliability:
    """Predicted and measured quality (N, E), 0..1."""
    said, true = predicted.ravel().astype(np.float64), quality.ravel()
    at = np.clip((said * BINS).astype(int), 0, BINS - 1)
    return Reliability(
        np.bincount(at, weights=said, minlength=BINS).astype(np.float64),
        np.bincount(at, weights=true, minlength=BINS).astype(np.float64),
        np.bincount(at, minlength=BINS).astype(np.float64),
    )


def together(parts: Sequence[Reliability]) -> Reliability:
    """Several splits' as one."""
    return Reliability(
        np.sum([part.said for part in parts], axis=0),
        np.sum([part.true for part in parts], axis=0),
        np.sum([part.count for part in parts], axis=0),
    )
