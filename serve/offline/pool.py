"""A pool that changes without training: its predictor, its guard, and the probes it is judged on.

    with_expert   one more, from its answers to some probes
    without       one less

The guard is not calibrated again, since its held-out prompts are gone. It is extended by what the
change did on the probes, see extended().
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from serve.offline.control import controlled_mean
from serve.offline.cost import Costs
from serve.offline.fit.data import Rows, complete
from serve.offline.fit.folds import folds
from serve.offline.guard import lower_bound, sweep_of
from serve.offline.metrics import Picks, earned, picks_at
from serve.offline.probes import Probes
from serve.protocol import Doubles, Expert, Floats, OpenPredictor, Prediction
from serve.routing.guard import Guard

SEED = 0
"""Of the folds."""


@dataclass(frozen=True)
class Answered:
    """What a new expert did with m probes.

    Attributes:
        expert: its id and prices.
        rows: (m,) which probes, in the order of use.
        quality: (m,), 0..1.
        input_tokens: (m,).
        output_tokens: (m,).
    """

    expert: Expert
    rows: Rows
    quality: Floats
    input_tokens: Floats
    output_tokens: Floats

    @property
    def cost(self) -> Doubles:
        """(m,) dollars."""
        return np.array(
            [
                self.expert.cost_usd(float(i), float(o))
                for i, o in zip(self.input_tokens, self.output_tokens, strict=True)
            ]
        )

    def of(self, chosen: Rows) -> Answered:
        """Some of the answers, by their place in `rows`."""
        return Answered(
            self.expert,
            self.rows[chosen],
            self.quality[chosen],
            self.input_tokens[chosen],
            self.output_tokens[chosen],
        )


@dataclass(frozen=True)
class Pool:
    """E experts, what routes among them, and n probes.

    Attributes:
        predictor: of the E experts.
        guard: of the same.
        probes: under the same.
    """

    predictor: OpenPredictor
    guard: Guard
    probes: Probes

    def on(self, rows: Rows) -> Pool:
        """The same on some of the probes."""
        return replace(self, probes=self.probes.rows(rows))

    @property
    def quality(self) -> Doubles:
        """(n, E), measured; a gap is filled so that it prefers no expert."""
        return complete(self.probes.table.quality.to_numpy(dtype=np.float32))[0]

    @property
    def expected(self) -> Doubles:
        """(n, E) dollars that an answer is expected to cost before it is given."""
        return self.probes.costs.expected(self.probes.held_out.output_tokens)

    def served(self, lam: float) -> Picks:
        """(n,) columns of the experts that answer at that lambda, the guard in its place."""
        return sweep_of(self.probes.held_out, self.expected, np.array([lam]), self.guard)[0]


def with_expert(pool: Pool, new: Answered) -> Pool:
    """The pool with one more expert, known by its answers alone; nothing else is learned."""
    grown = _added(pool, new)
    said = _held_out(pool, new, grown)
    columns = {
        "quality": controlled_mean(new.quality, *_quality_control(pool, new.rows)),
        "output_tokens": controlled_mean(new.output_tokens, *_cost_control(pool, new.rows)),
        "mean_cost": controlled_mean(new.cost, *_cost_control(pool, new.rows)),
    }
    means = {
        name: np.append(vars(pool.guard)[name], np.float32(max(value, 0.0)))
        for name, value in columns.items()
    }
    after = Pool(grown, replace(pool.guard, **means), _with_column(pool.probes, new, said))
    return replace(after, guard=extended(pool.on(new.rows), after.on(new.rows)))


def without(pool: Pool, expert: str) -> Pool:
    """The pool with one less; judged on the probes that this one was measured on."""
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
    return replace(after, guard=extended(pool.on(measured), after.on(measured)))


def extended(before: Pool, after: Pool) -> Guard:
    """The guard of `after`, its bounds moved by what the change of the pool did on the probes.

    At each lambda the old bound says what the old picks earn above the old constant's, at least.
    The new picks earn above the new constant's that much and

        (new picks' - old picks' utility) - (new constant's - old constant's utility),

    whose mean has a lower bound of its own from the probes, each prompt compared with itself. The
    sum of both bounds is a bound at the same confidence or above: a sum's standard error is at
    most the sum of the two, whatever their correlation. (Without normality the union bound holds:
    at 95 % each, 90 % both.) An expert that is hardly picked moves the bound hardly; one that is
    much picked on few probes makes the guard step aside, though it be good, until more are spent.
    """
    guard, old, new = after.guard, _Picked(before), _Picked(after)
    lower, cost = guard.lower.copy(), guard.cost.copy()
    for i, value in enumerate(guard.lam.astype(np.float64)):
        change = new.advantage(value) - old.advantage(value)
        lower[i] += lower_bound(change, guard.confidence)
        cost[i] = max(cost[i] + new.spent(value) - old.spent(value), 0)
    return replace(guard, lower=lower, cost=cost)


class _Picked:
    """What a pool's picks and its constant's earn on its probes, the guard left out."""

    def __init__(self, pool: Pool) -> None:
        self._guard = pool.guard
        self._predicted = pool.probes.held_out.quality.astype(np.float64)
        self._expected, self._quality = pool.expected, pool.quality
        self._cost = pool.probes.costs.measured

    def advantage(self, lam: float) -> Doubles:
        """(n,) utility of the picks less that of the constant."""
        utility = self._quality - lam * self._cost
        return earned(self._picks(lam), utility) - utility[:, self._guard.constant(lam)]

    def spent(self, lam: float) -> float:
        """Mean dollars of the picks."""
        return float(earned(self._picks(lam), self._cost).mean())

    def _picks(self, lam: float) -> Picks:
        return picks_at(self._predicted, self._expected, lam)


def _added(pool: Pool, new: Answered) -> OpenPredictor:
    """The predictor with a column for the new expert, its mean corrected by the known ones'."""
    quality = controlled_mean(new.quality, *_quality_control(pool, new.rows))
    tokens = controlled_mean(new.output_tokens, *_cost_control(pool, new.rows))
    return pool.predictor.add_expert(
        new.expert.id,
        pool.probes.vectors[new.rows],
        new.quality + np.float32(quality - new.quality.mean()),
        new.output_tokens + np.float32(tokens - new.output_tokens.mean()),
    )


def _quality_control(pool: Pool, rows: Rows) -> tuple[Doubles, float]:
    """(m,) mean quality of the known experts on those probes, and over all prompts."""
    return pool.quality[rows].mean(axis=1), float(pool.guard.quality.mean())


def _cost_control(pool: Pool, rows: Rows) -> tuple[Doubles, float]:
    """(m,) mean dollars of the known experts on those probes, and over all prompts."""
    return pool.probes.costs.measured[rows].mean(axis=1), float(pool.guard.mean_cost.mean())


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
    tensors = {stem: tensor.assign(**{name: np.nan}) for stem, tensor in probes.table.tensors.items()}
    tokens = column(new.input_tokens, costs.input_tokens.mean(axis=1))
    measured = {"in_tokens": new.input_tokens, "out_tokens": new.output_tokens, "cost_usd": new.cost}
    for stem, values in measured.items():
        if stem in tensors:
            tensors[stem] = tensors[stem].assign(**{name: column(values, np.nan)})
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
