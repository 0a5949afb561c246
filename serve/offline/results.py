"""results.json, what `pointsman evaluate` writes; its shape is kept stable."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from serve.protocol import Doubles

SCHEMA = 1
DEFAULT = "default"


@dataclass(frozen=True)
class Row:
    """One router on one split of one table; fractions, not percent; dollars as the table has them.

    Attributes:
        table: name of its folder.
        protocol: prompts, or unseen-experts.
        router: as `--router` named it.
        seed: of the split.
        qnc: least cost that matches the best expert on test, over that expert's; None: never.
        area: mean best quality within 200 budgets, cheapest to priciest expert.
        area50: UniRoute's Area(50 %).
        gain: test quality at the chosen lambda less that of the single expert that was best on
            training and validation prompts.
        cost_ratio: their costs' ratio.
        hindsight_gain: best point of the test curve less the expert that is best on test.
        best_single: test quality of the expert that was best on training and validation prompts.
        oracle: test quality of the best expert of each prompt.
        random: test quality of a uniform mixture.
        zero_area: `area` of UniRoute's ZeroRouter, each expert's mean whatever the prompt.
        aiq: RouterBench's AIQ.
        accuracy: test quality at the chosen lambda.
        cpt: RouteLLM's CPT(50 %), pools of two only.
        apgr: RouteLLM's APGR, pools of two only.
        lam: the lambda chosen on held-out prompts; None where no lambda promised a gain at no
            higher cost and the guard stepped aside to the best single expert.
        guard_share: share of the lambdas at which the guard serves the constant.
        tokens_mae: mean absolute error of predicted answer lengths; None where none are logged.
        tokens_mae_mean: the same of each expert's mean length.
        ece: expected calibration error of predicted quality, ten bins (reliability.py).
    """

    table: str
    protocol: str
    router: str
    seed: int
    qnc: float | None
    area: float
    area50: float
    gain: float
    cost_ratio: float
    hindsight_gain: float
    best_single: float
    oracle: float
    random: float
    zero_area: float
    aiq: float
    accuracy: float
    cpt: float | None
    apgr: float | None
    lam: float | None
    guard_share: float
    tokens_mae: float | None
    tokens_mae_mean: float | None
    ece: float


@dataclass(frozen=True)
class Line:
    """A deferral curve averaged over seeds.

    Attributes:
        table: name.
        protocol: name.
        router: name.
        seeds: how many.
        budget: (200,) US dollars an answer.
        quality: (200,) mean.
        low: (200,) lower end of the 95 % interval.
        high: (200,) its upper end.
    """

    table: str
    protocol: str
    router: str
    seeds: int
    budget: Doubles
    quality: Doubles
    low: Doubles
    high: Doubles


@dataclass(frozen=True)
class Reliable:
    """A router's predictions against the truth, all seeds' together.

    Attributes:
        table: name.
        protocol: name.
        router: name.
        predicted: (K,) mean predicted quality of each bin that holds any.
        measured: (K,) mean measured quality there.
        share: (K,) of all predictions.
    """

    table: str
    protocol: str
    router: str
    predicted: Doubles
    measured: Doubles
    share: Doubles


def average(key: tuple[str, str, str], budget: Doubles, curves: Sequence[Doubles]) -> Line:
    """Curves of several seeds over the same budgets -> one line."""
    stacked = np.stack(curves)
    half = np.array([interval(column)[1] for column in stacked.T])
    mean = stacked.mean(axis=0)
    return Line(*key, len(curves), budget, mean, mean - half, mean + half)


def interval(values: Doubles | Sequence[float]) -> tuple[float, float]:
    """Mean and half-width of its 95 % interval by Student's t; 0 for a single value."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) < 2:
        return float(array.mean()), 0.0
    error = array.std(ddof=1) / math.sqrt(len(array))
    return float(array.mean()), float(stats.t.ppf(0.975, len(array) - 1) * error)


def write_json(
    rows: Sequence[Row],
    lines: Sequence[Line],
    reliabilities: Sequence[Reliable],
    notes: Sequence[str],
    file: Path,
) -> None:
    """results.json: the same rows give the same bytes."""
    document = {
        "schema": SCHEMA,
        "rows": [asdict(row) for row in rows],
        "curves": [_listed(line) for line in lines],
        "reliability": [_listed(reliable) for reliable in reliabilities],
        "notes": list(notes),
    }
    text = json.dumps(document, sort_keys=True, indent=1, allow_nan=False)
    file.write_text(text + "\n")


def _listed(line: Line | Reliable) -> dict[str, Any]:
    fields = vars(line).items()
    return {k: v.round(10).tolist() if isinstance(v, np.ndarray) else v for k, v in fields}
