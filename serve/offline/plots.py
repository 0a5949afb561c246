"""Pictures: what a budget buys, every router beside the constants; and calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from serve.offline.metrics import hull
from serve.offline.results import DEFAULT, Line, Reliable

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6D31", "#5B5B5B")
"""Okabe and Ito's, which the colour-blind tell apart; the default router takes the first."""

WIDE = 20
"""A cost range beyond this ratio is drawn on a logarithmic axis."""


def plot(
    lines: Sequence[Line], points: Mapping[str, tuple[float, float]], title: str, stem: Path
) -> None:
    """Write stem.png and stem.svg.

    Args:
        lines: one a router, of one table and protocol.
        points: each single expert's mean dollars an answer and mean quality.
        title: above the picture.
        stem: path without a suffix.
    """
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    axes = figure.add_subplot()
    _experts(axes, points)
    ordered = sorted(lines, key=lambda line: line.router == DEFAULT)
    names = sorted((line.router for line in lines), key=lambda name: name != DEFAULT)
    for line in ordered:
        colour = COLOURS[names.index(line.router) % len(COLOURS)]
        ours = line.router == DEFAULT
        x = line.budget * 1000
        axes.plot(x, line.quality, color=colour, lw=3 if ours else 1.4, label=line.router)
        if line.seeds > 1:
            axes.fill_between(x, line.low, line.high, color=colour, alpha=0.15, lw=0)
    costs = [cost for cost, _ in points.values() if cost > 0]
    if costs and max(costs) > WIDE * min(costs):
        axes.set_xscale("log")
    lowest = min(
        [float(line.quality.min()) for line in lines] + [max(q for _, q in points.values())]
    )
    axes.set_ylim(bottom=lowest - 0.02)
    axes.set_xlabel("budget: mean cost of 1000 answers, US dollars")
    axes.set_ylabel("mean quality of the answers on test prompts")
    _finish(axes, title)
    _save(figure, stem)


def plot_reliability(lines: Sequence[Reliable], title: str, stem: Path) -> None:
    """Write stem.png and stem.svg: predicted against measured quality, a dot's size its share.

    Args:
        lines: one a router, of one table and protocol.
        title: above the picture.
        stem: path without a suffix.
    """
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], "--", color="#999999", lw=1.2, label="as predicted")
    names = sorted((line.router for line in lines), key=lambda name: name != DEFAULT)
    for line in sorted(lines, key=lambda line: line.router == DEFAULT):
        colour = COLOURS[names.index(line.router) % len(COLOURS)]
        axes.plot(line.predicted, line.measured, color=colour, lw=1.2, label=line.router)
        axes.scatter(line.predicted, line.measured, s=12 + 300 * line.share, color=colour, lw=0)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted quality", ylabel="measured quality")
    _finish(axes, title)
    _save(figure, stem)


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    axes.grid(color="#e5e5e5", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, title="router")


def _save(figure: Figure, stem: Path) -> None:
    with mpl.rc_context({"svg.hashsalt": "pointsman"}):
        figure.savefig(f"{stem}.png", dpi=150)
        figure.savefig(f"{stem}.svg", metadata={"Date": None})


def _experts(axes: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Single experts as grey dots, what mixing them reaches as a dashed line."""
    cost = np.array([c for c, _ in points.values()]) * 1000
    quality = np.array([q for _, q in points.values()])
    x, y = hull(cost, quality)
    ends = np.append(x, max(cost.max(), x[-1])), np.append(y, y[-1])
    axes.plot(*ends, "--", color="#999999", lw=1.2, label="random mixture of experts", zorder=1)
    axes.plot(cost, quality, "o", color="#777777", ms=4, zorder=2, label="single expert")
    for name, at, value in zip(points, cost, quality, strict=True):
        if value in y and at in x:
            short = name.rsplit("/", 1)[-1]
            axes.annotate(
                short,
                (at, value),
                xytext=(3, -9),
                textcoords="offset points",
                fontsize=7,
                color="#555555",
            )
