"""What is printed of a new expert: where it is strong, what it changes, and how sure that is."""

from __future__ import annotations

from collections import Counter

import numpy as np

from serve.offline.fit.data import Rows
from serve.offline.metrics import earned
from serve.offline.pool.change import with_expert
from serve.offline.pool.guard_change import certainty
from serve.offline.pool.pool import Answered, Pool
from serve.protocol import Doubles, Floats

SHOWN = 3
"""Best and worst clusters, and examples of each."""

WIDTH = 80
"""Characters of an example."""

SPENT = (25, 50, 100, 200, 400, 800)
"""Probes after which one might have stopped."""

CERTAIN = 1.96
"""Standard errors on either side of a 95 % interval."""

FEW = 10.0
"""Pseudo-count that a cluster's difference is shrunk by before clusters are ordered."""


def report(before: Pool, after: Pool, new: Answered, lam: float, confidence: float) -> str:
    """Plain text.

    Args:
        before: the pool without the expert.
        after: the pool with it.
        new: its answers.
        lam: at which traffic and change are looked at.
        confidence: that the guard asks of the change.
    """
    name = new.expert.id
    parts = [
        f"{name}: {len(new.rows)} answers, quality {_mean(new.quality)}, "
        f"USD per 1000 prompts {_mean(new.cost * 1000)}",
        f"\nAgainst the expert that the router thinks best for a cluster (± is a 95 % interval; "
        f"the first and last of many look further apart than they are):\n"
        f"{_strengths(after, new)}",
        f"\nServed at lambda {lam:g}, by the probes; each fifth of them is predicted from the "
        f"answers to the others. Certain: that the\nrouter earns more than the best constant.\n"
        f"{_spent(before, after, new, lam, confidence)}",
    ]
    return "\n".join(parts)


def _strengths(after: Pool, new: Answered) -> str:
    pool = after.on(new.rows)
    quality, clusters = pool.quality, pool.probes.clusters
    gaps = {}
    for cluster in np.unique(clusters):
        rows = np.flatnonzero(clusters == cluster)
        best = int(pool.probes.held_out.quality[rows, :-1].mean(axis=0).argmax())
        gaps[int(cluster)] = (rows, best, quality[rows, -1] - quality[rows, best])
    order = sorted(gaps, key=lambda c: -gaps[c][2].sum() / (len(gaps[c][2]) + FEW))
    shown = order if len(order) <= 2 * SHOWN else [*order[:SHOWN], *order[-SHOWN:]]
    return "\n".join(_cluster(pool, cluster, *gaps[cluster]) for cluster in shown)


def _cluster(pool: Pool, cluster: int, rows: Rows, best: int, gap: Doubles) -> str:
    prompts = pool.probes.table.prompts.iloc[rows]
    tasks = ", ".join(task for task, _ in Counter(prompts["task"]).most_common(2))
    quality = pool.quality[rows]
    examples = [f"      {_cut(text)}" for text in prompts["prompt"][:SHOWN]]
    return "\n".join(
        [
            f"  cluster {cluster} ({tasks}), {len(rows)} probes: {quality[:, -1].mean():.3f}, "
            f"{pool.predictor.experts[best]} {quality[:, best].mean():.3f}, "
            f"difference {_change(gap)}",
            *examples,
        ]
    )


def _spent(before: Pool, after: Pool, new: Answered, lam: float, confidence: float) -> str:
    names = f"  {'probes':>6}  {'share':>14}  {'quality':>18}  {'USD per 1000 prompts':>22}"
    lines = [f"{names}  {'certain':>7}  decides"]
    for count in [n for n in SPENT if n < len(new.rows)]:
        part = new.of(np.arange(count))
        lines.append(_row(before, with_expert(before, part, confidence), part, lam))
    lines.append(_row(before, after, new, lam))
    return "\n".join(lines)


def _row(before: Pool, after: Pool, new: Answered, lam: float) -> str:
    old, now = before.on(new.rows), after.on(new.rows)
    was, picks = old.served(lam), now.served(lam)
    share = (picks == len(before.predictor.experts)).astype(np.float64)
    quality = earned(picks, now.quality) - earned(was, old.quality)
    cost = earned(picks, now.probes.costs.measured) - earned(was, old.probes.costs.measured)
    decides = "router" if after.guard.trusts(lam) else "constant"
    return (
        f"  {len(new.rows):>6}  {_mean(share, 2):>14}  {_change(quality):>18}  "
        f"{_change(cost * 1000):>22}  {certainty(old, now, lam):>7.2f}  {decides}"
    )


def _mean(values: Doubles | Floats, digits: int = 3) -> str:
    return f"{values.mean():.{digits}f} ± {_interval(values):.{digits}f}"


def _change(values: Doubles) -> str:
    return f"{values.mean():+.3f} ± {_interval(values):.3f}"


def _interval(values: Doubles | Floats) -> float:
    """Half of the 95 % interval of the mean, by the normal approximation."""
    return float(CERTAIN * values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan


def _cut(text: str) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..."
