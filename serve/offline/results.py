"""What `pointsman evaluate` writes: results.json, its shape kept stable, and a Markdown table."""

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
        aiq: RouterBench's AIQ.
        accuracy: test quality at the chosen lambda.
        cpt: RouteLLM's CPT(50 %), pools of two only.
        apgr: RouteLLM's APGR, pools of two only.
        lam: the lambda chosen on held-out prompts.
        guard_share: share of the lambdas at which the guard serves the constant.
        tokens_mae: mean absolute error of predicted answer lengths; None where none are logged.
        tokens_mae_mean: the same of each expert's mean length.
        ece: expected calibration error of predicted quality, ten bins.
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
    aiq: float
    accuracy: float
    cpt: float | None
    apgr: float | None
    lam: float
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
    rows: Sequence[Row], lines: Sequence[Line], notes: Sequence[str], file: Path
) -> None:
    """results.json: the same rows give the same bytes."""
    document = {
        "schema": SCHEMA,
        "rows": [asdict(row) for row in rows],
        "curves": [_listed(line) for line in lines],
        "notes": list(notes),
    }
    text = json.dumps(document, sort_keys=True, indent=1, allow_nan=False)
    file.write_text(text + "\n")


def _listed(line: Line) -> dict[str, Any]:
    fields = vars(line).items()
    return {k: v.round(10).tolist() if isinstance(v, np.ndarray) else v for k, v in fields}


def sign_test(first: Sequence[float], second: Sequence[float]) -> tuple[int, int, float]:
    """Paired: how often first is above second, of how many untied pairs, and the two-sided p."""
    untied = [(a, b) for a, b in zip(first, second, strict=True) if a != b]
    above = sum(a > b for a, b in untied)
    p = stats.binomtest(above, len(untied)).pvalue if untied else 1.0
    return above, len(untied), float(p)


def markdown(rows: Sequence[Row]) -> str:
    """A section for each table and protocol, a line for each router, in the order first seen."""
    sections = dict.fromkeys((row.table, row.protocol) for row in rows)
    parts = [_section([r for r in rows if (r.table, r.protocol) == key], *key) for key in sections]
    return "\n\n".join(parts) + "\n"


def _section(rows: Sequence[Row], table: str, protocol: str) -> str:
    names = list(dict.fromkeys(row.router for row in rows))
    by_name = {name: [row for row in rows if row.router == name] for name in names}
    first = by_name[names[0]]
    single, random, oracle = (
        float(np.mean([vars(row)[key] for row in first]))
        for key in ("best_single", "random", "oracle")
    )
    pair = first[0].apgr is not None
    head = [
        "router",
        "QNC",
        "Area",
        "Area(50 %)",
        "AIQ",
        "gain, points",
        "worst",
        "cost",
        "hindsight gain",
    ]
    head += ["CPT(50 %)", "APGR"] if pair else []
    lines = [
        f"**{table}, {protocol}** ({len(first)} seeds): best single expert {single:.4f}, random "
        f"mixture {random:.4f}, oracle {oracle:.4f}",
        "",
        f"| {' | '.join(head)} |",
        "|---" * len(head) + "|",
        *(_line(name, by_name[name], pair) for name in names),
    ]
    tests = [_compared(by_name, other) for other in names if other != DEFAULT]
    if DEFAULT in by_name and len(first) > 1 and tests:
        lines += ["", "Area, paired sign test: " + "; ".join(tests) + "."]
    return "\n".join(lines)


def _line(name: str, rows: Sequence[Row], pair: bool) -> str:
    gain, half = interval([100 * row.gain for row in rows])
    cells = [
        name,
        _qnc(rows),
        *(f"{np.mean([vars(row)[key] for row in rows]):.4f}" for key in ("area", "area50", "aiq")),
        f"{gain:+.2f} ± {half:.2f}" if len(rows) > 1 else f"{gain:+.2f}",
        f"{min(100 * row.gain for row in rows):+.2f}",
        f"{np.mean([row.cost_ratio for row in rows]):.2f}",
        f"{np.mean([100 * row.hindsight_gain for row in rows]):+.2f}",
    ]
    if pair:
        cells += [_mean([row.cpt for row in rows]), _mean([row.apgr for row in rows])]
    return f"| {' | '.join(cells)} |"


def _qnc(rows: Sequence[Row]) -> str:
    found = [row.qnc for row in rows if row.qnc is not None]
    if not found:
        return "never"
    missed = f" ({len(rows) - len(found)} of {len(rows)} never)" if len(found) < len(rows) else ""
    return f"{np.mean(found):.3f}{missed}"


def _mean(values: Sequence[float | None]) -> str:
    found = [value for value in values if value is not None]
    return f"{np.mean(found):.3f}" if found else "never"


def _compared(by_name: dict[str, list[Row]], other: str) -> str:
    ours, theirs = ([row.area for row in by_name[name]] for name in (DEFAULT, other))
    above, untied, p = sign_test(ours, theirs)
    return f"{DEFAULT} above {other} on {above} of {untied} seeds (p = {p:.1g})"
