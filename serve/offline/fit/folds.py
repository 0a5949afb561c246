"""Prompts dealt into five parts, so that each is predicted by what was fitted without it."""

from __future__ import annotations

import numpy as np

from serve.offline.fit.data import Rows

FOLDS = 5


def folds(rows: int, seed: int) -> list[Rows]:
    """FOLDS disjoint lists of row numbers that cover them all."""
    order = np.random.default_rng(seed).permutation(rows)
    return [np.sort(part) for part in np.array_split(order, FOLDS)]
