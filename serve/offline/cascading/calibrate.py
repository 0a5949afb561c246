"""Thresholds of a cascade from a routing table, and what they are worth on prompts not seen.

Thresholds are chosen on 70 % of the prompts and judged on the other 30 %, over seeds; the ones that
are given are seed 0's. The judge is the best random mixture of the tiers that costs the same: a
cascade that does not beat it is not worth its second requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Literal, TypeAlias

import numpy as np

from serve.errors import TableError
from serve.offline.cascading.answers import (
    Answers,
    Outcome,
    Sweep,
    auroc,
    run,
    sweep,
    thresholds_at,
)
from serve.offline.cascading.mixing import mixed
from serve.offline.cascading.source import Source, load, signal_of
from serve.offline.cost import costs_of
from serve.offline.fit.data import Rows
from serve.offline.guard import CONFIDENCE
from serve.offline.metrics import mixture
from serve.offline.splits import split_prompts
from serve.offline.table import RoutingTable
from serve.protocol import Doubles

BUDGETS = 100
"""Of the area, from the cheapest tier's cost to the dearest one's, as in arXiv 2405.02134."""

Kind: TypeAlias = Literal["share", "quality", "usd"]


@dataclass(frozen=True)
class Goal:
    """What thresholds are chosen for, on the prompts to calibrate on.

    Attributes:
        kind: share: each tier passes on at most that share of its answers; quality: the least cost
            that reaches it; usd: the best quality for so many dollars an answer.
        value: of it.
    """

    kind: Kind
    value: float

    def thresholds(self, answers: Answers, swept: Sweep) -> tuple[float, ...]:
        """The thresholds for it.

        Raises:
            TableError: none reach it.
        """
        if self.kind == "share":
            return thresholds_at(answers, self.value)
        if self.kind == "quality":
            at, most = swept.reaching(self.value), f"the best is {swept.quality.max():.4f}"
        else:
            at, most = swept.within(self.value), f"the cheapest is {swept.cost.min():.3g}"
        if at is None:
            raise TableError(f"no thresholds bring {self.kind} {self.value:g}: {most}")
        return swept.thresholds[at]


@dataclass(frozen=True)
class Split:
    """One seed's figures on its test prompts.

    Attributes:
        alone: (T, 2) mean quality and dollars of each tier.
        outcome: of the cascade.
        best: position of the tier that was best on the prompts to calibrate on.
        mixing: quality of the best random mixture of the tiers at the cascade's cost.
        pool: the same of all experts of the table.
        advantage: (n,) what each prompt earned above that mixture of tiers.
        auroc: (T - 1,) of each tier's signal; None where all its answers are right or none is.
        area, area_mixing: mean quality over budgets, of the cascade and of mixing the tiers.
        half, half_mixing: the same within half the dearest tier's cost.
    """

    alone: Doubles
    outcome: Outcome
    best: int
    mixing: float
    pool: float
    advantage: Doubles
    auroc: tuple[float | None, ...]
    area: float
    area_mixing: float
    half: float
    half_mixing: float


@dataclass(frozen=True)
class Calibration:
    """A calibrated cascade.

    Attributes:
        table: its name.
        tiers: expert ids.
        source: of the signal.
        goal: that was asked for.
        thresholds: (T - 1,) of seed 0.
        prompts: how many there were to calibrate on, and to judge on, in a split.
        experts: of the whole table.
        splits: one a seed.
        gain: mean advantage over all splits.
        lower: its lower bound at `CONFIDENCE`, one-sided.
        notes: on prompts that were left out.
    """

    table: str
    tiers: tuple[str, ...]
    source: Source
    goal: Goal
    thresholds: tuple[float, ...]
    prompts: tuple[int, int]
    experts: int
    splits: list[Split]
    gain: float
    lower: float
    notes: list[str]

    @property
    def pays(self) -> bool:
        """Whether it surely beats the best mixture of its tiers."""
        return self.lower > 0


def calibrate(
    folder: Path, tiers: Sequence[str], source: Source, goal: Goal, seeds: int
) -> Calibration:
    """Choose thresholds and judge them.

    Args:
        folder: of the routing table.
        tiers: expert ids, cheap to dear.
        source: of the signal.
        goal: to reach.
        seeds: how many splits.

    Raises:
        SetupError: one line: the table lacks something, or nothing reaches the goal.
    """
    source.require()
    table, notes = load(folder, source, tiers)
    signal = signal_of(table, source, tiers, folder)
    unknown = int(np.isneginf(signal).sum())
    if unknown:
        notes.append(f"{unknown} answers of unknown certainty are never accepted")
    total, count = np.zeros(len(signal)), np.zeros(len(signal))
    splits, chosen, sizes = [], [], []
    for seed in range(seeds):
        train, validation, test = (
            table.prompts.index.get_indexer(part).astype(np.int64)
            for part in split_prompts(table, seed)
        )
        known = np.concatenate([train, validation])
        thresholds, split = _judged(table, tiers, source, signal, known, test, goal)
        total[test] += split.advantage
        count[test] += 1
        splits.append(split)
        chosen.append(thresholds)
        sizes.append((len(known), len(test)))
    gain, lower = bounded(total, count)
    return Calibration(
        folder.resolve().name,
        tuple(tiers),
        source,
        goal,
        chosen[0],
        sizes[0],
        len(table.experts),
        splits,
        gain,
        lower,
        notes,
    )


def bounded(total: Doubles, count: Doubles) -> tuple[float, float]:
    """The mean of values and its one-sided lower bound, where a prompt may count several times.

    The prompts are what was drawn, so the error is that of a ratio over prompts: how often one was
    held out makes nothing surer.

    Args:
        total: (N,) sum of each prompt's values.
        count: (N,) how many they are; 0: never held out.
    """
    mean = total.sum() / count.sum()
    error = np.sqrt(((total - count * mean) ** 2).sum()) / count.sum()
    return float(mean), float(mean - NormalDist().inv_cdf(CONFIDENCE) * error)


def _judged(
    table: RoutingTable,
    tiers: Sequence[str],
    source: Source,
    signal: Doubles,
    known: Rows,
    test: Rows,
    goal: Goal,
) -> tuple[tuple[float, ...], Split]:
    quality = table.quality.to_numpy(dtype=np.float64)
    cost = costs_of(table, known).measured
    columns = [table.experts.index(name) for name in tiers]
    answers = Answers(quality[:, columns], cost[:, columns], signal, not source.predicted)
    seen, unseen = answers.rows(known), answers.rows(test)
    _require_rising(tiers, seen.cost.mean(axis=0))
    swept = sweep(seen)
    thresholds = goal.thresholds(seen, swept)
    outcome = run(unseen, thresholds)
    usd = float(run(seen, thresholds).cost.mean())
    ours = mixed(seen.quality, seen.cost, unseen.quality, unseen.cost, outcome.cost, usd)
    whole = ~np.isnan(quality).any(axis=0)
    every, prices = quality[:, whole], cost[:, whole]
    pool = mixed(every[known], prices[known], every[test], prices[test], outcome.cost, usd)
    areas = _curve(swept, seen, unseen)
    return thresholds, Split(
        np.stack([unseen.quality.mean(axis=0), unseen.cost.mean(axis=0)], axis=1),
        outcome,
        int(seen.quality.mean(axis=0).argmax()),
        float(ours.quality.mean()),
        float(pool.quality.mean()),
        ours.advantage(outcome.quality, outcome.cost),
        tuple(auroc(unseen.signal[:, t], unseen.quality[:, t]) for t in range(len(tiers) - 1)),
        *areas,
    )


def _require_rising(tiers: Sequence[str], cost: Doubles) -> None:
    for t in np.flatnonzero(np.diff(cost) <= 0):
        raise TableError(
            f"--tiers go from cheap to dear: {tiers[t]} costs {1000 * cost[t]:.3g} USD per 1000 "
            f"answers, {tiers[t + 1]} {1000 * cost[t + 1]:.3g}"
        )


def _curve(swept: Sweep, seen: Answers, unseen: Answers) -> tuple[float, float, float, float]:
    """Area and half-cost quality of the cascade, each beside mixing within the same budgets."""
    means = seen.cost.mean(axis=0)
    budgets = np.append(np.linspace(means[0], means[-1], BUDGETS), means[-1] / 2)
    cheapest = int(swept.cost.argmin())
    found = [swept.within(usd) for usd in budgets]
    tried = [swept.thresholds[cheapest if at is None else at] for at in found]
    reached = np.array([run(unseen, thresholds).quality.mean() for thresholds in tried])
    mixing = mixture(unseen.cost.mean(axis=0), unseen.quality.mean(axis=0), budgets)
    return (
        float(reached[:-1].mean()),
        float(mixing[:-1].mean()),
        float(reached[-1]),
        float(mixing[-1]),
    )
