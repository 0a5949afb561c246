"""What calibrate prints."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import yaml

from serve.offline.cascading.calibrate import Calibration, Split
from serve.offline.guard import CONFIDENCE

RULE_OF_THUMB = 0.7
"""AUROC below which a signal is said to be too weak to cascade by; the bound decides."""


def section(calibrated: Calibration) -> str:
    """The YAML to paste into the settings."""
    cascade = {
        "tiers": list(calibrated.tiers),
        "signal": calibrated.source.signal,
        "thresholds": list(calibrated.thresholds),
    }
    return yaml.safe_dump({"router": {"cascade": cascade}}, sort_keys=False)


def report(calibrated: Calibration) -> str:
    """One cascade: its figures beside what needs no signal, and whether it pays."""
    known, test = calibrated.prompts
    lines = [
        f"{calibrated.table}: {' -> '.join(calibrated.tiers)} by {calibrated.source.stem}; "
        f"thresholds from {known} prompts, figures from {test} others, mean of "
        f"{len(calibrated.splits)} splits",
        *calibrated.notes,
        "",
        "| on prompts not seen | quality | USD per 1000 answers | answered by |",
        "|---|---|---|---|",
        *_alone(calibrated),
        f"| random mixing of the tiers at the cascade's cost | {_mean(calibrated, _mixing):.4f} | "
        f"{1000 * _mean(calibrated, _spent):.4f} | |",
        f"| cascade | {_mean(calibrated, _quality):.4f} | "
        f"{1000 * _mean(calibrated, _spent):.4f} | {_answered(calibrated)} |",
        f"| best mixing of all {calibrated.experts} experts at that cost | "
        f"{_mean(calibrated, _pool):.4f} | {1000 * _mean(calibrated, _spent):.4f} | |",
        "",
        f"Passed on by the first tier: {_mean(calibrated, _escalated):.1%}.",
        *_signals(calibrated),
        f"Area over budgets from the cheapest tier's cost to the dearest one's: "
        f"{_mean(calibrated, _area):.4f}, random mixing {_mean(calibrated, _area_mixing):.4f}; at "
        f"half the dearest one's cost {_mean(calibrated, _half):.4f}, "
        f"{_mean(calibrated, _half_mixing):.4f}.",
        verdict(calibrated),
    ]
    if _mean(calibrated, _pool) > _mean(calibrated, _quality):
        lines.append(
            "Experts outside these tiers, mixed at random, answer better for that cost: look there."
        )
    return "\n".join(lines)


def verdict(calibrated: Calibration) -> str:
    """Whether it pays, in one line."""
    said = (
        f"{100 * calibrated.gain:+.2f} points above random mixing at equal cost, lower bound "
        f"{100 * calibrated.lower:+.2f} at {CONFIDENCE:.0%}"
    )
    return f"It pays: {said}." if calibrated.pays else f"It does not pay: {said}."


def comparison(all_of: Sequence[Calibration]) -> str:
    """Several cascades, a line each."""
    lines = [
        "| cascade | AUROC | area | random mixing | at half the cost | random mixing | passed on | "
        "points above random mixing (lower bound) | above mixing all "
        f"{all_of[0].experts} experts | |",
        "|---" * 10 + "|",
    ]
    for one in all_of:
        cells = [
            " -> ".join(one.tiers),
            " ".join(_rounded(value) for value in _aurocs(one)),
            *(f"{_mean(one, of):.3f}" for of in (_area, _area_mixing, _half, _half_mixing)),
            f"{_mean(one, _escalated):.0%}",
            f"{100 * one.gain:+.2f} ({100 * one.lower:+.2f})",
            f"{100 * (_mean(one, _quality) - _mean(one, _pool)):+.2f}",
            "pays" if one.pays else "**does not pay**",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _alone(calibrated: Calibration) -> list[str]:
    alone = np.mean([split.alone for split in calibrated.splits], axis=0)
    best = {split.best for split in calibrated.splits}
    return [
        f"| {name} alone{', the best constant' if t in best else ''} | {alone[t, 0]:.4f} | "
        f"{1000 * alone[t, 1]:.4f} | |"
        for t, name in enumerate(calibrated.tiers)
    ]


def _answered(calibrated: Calibration) -> str:
    count = len(calibrated.tiers)
    tiers = np.concatenate([split.outcome.tier for split in calibrated.splits])
    shares = np.bincount(tiers, minlength=count) / len(tiers)
    return ", ".join(f"{n} {s:.1%}" for n, s in zip(calibrated.tiers, shares, strict=True))


def _signals(calibrated: Calibration) -> list[str]:
    lines = []
    for name, value in zip(calibrated.tiers, _aurocs(calibrated), strict=False):
        weak = value is None or value < RULE_OF_THUMB
        lines.append(
            f"AUROC of {name}'s {calibrated.source.stem}: {_rounded(value)}"
            + (
                f"; below {RULE_OF_THUMB} a signal is rarely worth a second request."
                if weak
                else "."
            )
        )
    return lines


def _aurocs(calibrated: Calibration) -> list[float | None]:
    columns = zip(*(split.auroc for split in calibrated.splits), strict=True)
    known = [[value for value in column if value is not None] for column in columns]
    return [float(np.mean(values)) if values else None for values in known]


def _rounded(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _mean(calibrated: Calibration, of: Callable[[Split], float]) -> float:
    return float(np.mean([of(split) for split in calibrated.splits]))


def _quality(split: Split) -> float:
    return float(split.outcome.quality.mean())


def _spent(split: Split) -> float:
    return float(split.outcome.cost.mean())


def _escalated(split: Split) -> float:
    return split.outcome.escalated


def _mixing(split: Split) -> float:
    return split.mixing


def _pool(split: Split) -> float:
    return split.pool


def _area(split: Split) -> float:
    return split.area


def _area_mixing(split: Split) -> float:
    return split.area_mixing


def _half(split: Split) -> float:
    return split.half


def _half_mixing(split: Split) -> float:
    return split.half_mixing
