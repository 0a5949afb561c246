"""One expert more, or one less, and nothing trained again.

The predictor gets a column or loses one, the guard is extended, and the probes go along, so that
the next change has what it needs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from serve.offline.cost import Costs
from serve.offline.fit.folds import folds
from serve.offline.pool.control import controlled_mean
from serve.offline.pool.guard_change import CONFIDENCE, extended
from serve.offline.pool.likeness import likeness
from serve.offline.pool.pool import Answered, Pool
from serve.offline.pool.probes import Probes
from serve.protocol import Doubles, Floats, Likeness, OpenPredictor, Prediction

SEED = 0
"""Of the folds."""


def with_expert(pool: Pool, new: Answered, confidence: float = CONFIDENCE) -> Pool:
    """The pool with one more expert, known by its answers alone; nothing else is learned.

    Args:
        pool: without it.
        new: its answers to some of the probes.
        confidence: see extended().
    """
    grown, like, guard = _added(pool, new), _like(pool, new), pool.guard
    said = _held_out(pool, new, grown)
    known_cost = pool.probes.costs.measured[new.rows].mean(axis=1)
    quality = (new.quality - like.like_quality).mean() + guard.quality @ like.quality
    length = (new.output_tokens - like.like_output_tokens).mean()
    length += guard.output_tokens @ like.output_tokens
    cost = controlled_mean(new.cost, known_cost, float(guard.mean_cost.mean()))
    columns = replace(
        guard,
        quality=np.append(guard.quality, np.float32(quality)),
        output_tokens=np.append(guard.output_tokens, np.float32(max(length, 1))),
        mean_cost=np.append(guard.mean_cost, np.float32(max(cost, 0))),
    )
    after = Pool(grown, columns, _with_column(pool.probes, new, said))
    return replace(after, guard=extended(pool.on(new.rows), after.on(new.rows), confidence))


def without(pool: Pool, expert: str, confidence: float = CONFIDENCE) -> Pool:
    """The pool with one less; judged on the probes that this one was measured on.

    Args:
        pool: with it.
        expert: its id.
        confidence: see extended().
    """
    experts = [name for name in pool.predictor.experts if name != expert]
    at = [pool.predictor.experts.index(name) for name in experts]
    kept = pool.predictor.keep(experts)
    vectors, known = pool.probes.vectors, pool.probes.held_out
    moved = _moved(pool.predictor.predict(vectors), kept.predict(vectors), known, at)
    guard = pool.guard
    after = Pool(
        kept,
        replace(
            guard,
            quality=guard.quality[at],
            output_tokens=guard.output_tokens[at],
            mean_cost=guard.mean_cost[at],
        ),
        replace(pool.probes.keep(experts), held_out=moved),
    )
    measured = np.flatnonzero(pool.probes.table.quality[expert].notna())
    return replace(after, guard=extended(pool.on(measured), after.on(measured), confidence))


def _added(pool: Pool, new: Answered) -> OpenPredictor:
    """The predictor with a column for the new expert."""
    return pool.predictor.add_expert(
        new.expert.id,
        pool.probes.vectors[new.rows],
        new.quality,
        new.output_tokens,
        _like(pool, new),
    )


def _like(pool: Pool, new: Answered) -> Likeness:
    known = pool.on(new.rows)
    return likeness(known.quality, known.output_tokens, new.quality, new.output_tokens)


def _held_out(pool: Pool, new: Answered, grown: OpenPredictor) -> Prediction:
    """(n, E + 1) predictions for the probes by what was not fitted on their answers.

    The known experts': what is kept of them, moved as the pool's change moves them. The new one's:
    each fifth of its probes from its answers to the other four.
    """
    vectors, known = pool.probes.vectors, pool.probes.held_out
    said, count = grown.predict(vectors), len(pool.predictor.experts)
    moved = _moved(pool.predictor.predict(vectors), said, known, list(range(count)))
    quality, tokens = said.quality[:, -1].copy(), said.output_tokens[:, -1].copy()
    for held in folds(len(new.rows), SEED):
        others = np.setdiff1d(np.arange(len(new.rows)), held)
        rows = new.rows[held]
        fifth = _added(pool, new.of(others)).predict(vectors[rows])
        quality[rows], tokens[rows] = fifth.quality[:, -1], fifth.output_tokens[:, -1]
    return Prediction(
        np.column_stack([moved.quality, quality]), np.column_stack([moved.output_tokens, tokens])
    )


def _moved(before: Prediction, after: Prediction, kept: Prediction, at: list[int]) -> Prediction:
    """Held-out predictions of the old columns `at`, moved by as much as the pool's change moves
    what the predictor says of them; the columns of `after` begin with these."""
    count = len(at)
    return Prediction(
        kept.quality[:, at] + (after.quality[:, :count] - before.quality[:, at]),
        kept.output_tokens[:, at] + (after.output_tokens[:, :count] - before.output_tokens[:, at]),
    )


def _with_column(probes: Probes, new: Answered, said: Prediction) -> Probes:
    """The probes with the new expert's answers; those it was not asked have none."""
    n, costs, name = len(probes.vectors), probes.costs, new.expert.id

    def column(values: Doubles | Floats, other: Doubles | float) -> Doubles:
        full = np.full(n, other, dtype=np.float64)
        full[new.rows] = values
        return full

    quality = probes.table.quality.assign(**{name: column(new.quality, np.nan)})
    measured: dict[str, Doubles | Floats] = {
        "in_tokens": new.input_tokens,
        "out_tokens": new.output_tokens,
        "cost_usd": new.cost,
    }
    tensors = {
        stem: tensor.assign(**{name: column(measured[stem], np.nan)})
        for stem, tensor in probes.table.tensors.items()
    }
    tokens = column(new.input_tokens, costs.input_tokens.mean(axis=1))
    expert = new.expert
    return Probes(
        replace(probes.table, quality=quality, tensors=tensors),
        probes.vectors,
        probes.clusters,
        said,
        Costs(
            np.column_stack([costs.measured, column(new.cost, float(new.cost.mean()))]),
            np.column_stack([costs.input_tokens, tokens]),
            np.append(costs.fixed, 0.0),
            np.append(costs.usd_input, expert.usd_per_million_input / 1e6),
            np.append(costs.usd_output, expert.usd_per_million_output / 1e6),
        ),
    )
