"""One table, split once: what a router may learn from, and what it is judged on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from serve.offline.cost import Costs, costs_of
from serve.offline.fit.data import Rows, TrainingSet
from serve.offline.splits import split_experts, split_prompts
from serve.offline.table import RoutingTable
from serve.protocol import Floats

UNKNOWN_TOKENS = 256.0
"""Length of an answer where a table logs none; our default. It prices all experts alike."""

PROBES = 400
"""Representative prompts an unseen expert is measured on: UniRoute's S_val."""


@dataclass(frozen=True)
class Trial:
    """A split table.

    Attributes:
        table: its name.
        seed: of the split.
        data: prompts of training and validation.
        costs: of those.
        test: prompts to judge on.
        test_costs: of those.
    """

    table: str
    seed: int
    data: TrainingSet
    costs: Costs
    test: TrainingSet
    test_costs: Costs

    def flat(self) -> Trial:
        """The same for a router whose rule knows one cost an expert, whatever the prompt."""
        known = self.costs.flat()
        test = replace(
            self.test_costs,
            fixed=known.fixed,
            usd_input=known.usd_input,
            usd_output=known.usd_output,
        )
        return replace(self, costs=known, test_costs=test)


@dataclass(frozen=True)
class UnseenTrial:
    """A table split by prompts and by experts.

    Attributes:
        seen: prompts of training and validation under the experts seen in training.
        probes: S_val under the unseen experts, their costs in `trial`; all that is known of them.
        full: the training prompts under the unseen experts, for comparison alone.
        trial: `data` is the probes, `test` the test prompts, both under the unseen experts.
    """

    seen: TrainingSet
    full: TrainingSet
    trial: Trial

    @property
    def probes(self) -> TrainingSet:
        """What is known of the unseen experts."""
        return self.trial.data


def training_set(table: RoutingTable, vectors: Floats, costs: Costs) -> TrainingSet:
    """A whole table as fits read it; no prompt is validation yet."""
    return TrainingSet(
        experts=tuple(table.experts),
        texts=tuple(table.texts),
        tasks=table.prompts["task"].to_numpy(dtype=str),
        vectors=vectors,
        quality=table.quality.to_numpy(dtype=np.float32),
        output_tokens=_output_tokens(table),
        cost=costs.measured,
        validation=np.zeros(len(table.prompts), dtype=bool),
    )


def split_trial(name: str, table: RoutingTable, vectors: Floats, seed: int) -> Trial:
    """60/10/30 by prompt, stratified by task.

    Args:
        name: of the table.
        table: see RoutingTable.comparable.
        vectors: (N, D) of its prompts.
        seed: of the split.
    """
    train, validation, test = _rows(table, *split_prompts(table, seed))
    known = np.concatenate([train, validation])
    costs = costs_of(table, known)
    everything = training_set(table, vectors, costs)
    data = everything.rows(known)
    data = replace(data, validation=np.arange(len(known)) >= len(train))
    return Trial(name, seed, data, costs.rows(known), everything.rows(test), costs.rows(test))


def split_unseen(name: str, table: RoutingTable, vectors: Floats, seed: int) -> UnseenTrial:
    """The same by prompt, and two thirds of the experts seen (UniRoute's protocol).

    Raises:
        TableError: too few experts.
    """
    seen, unseen = split_experts(table, seed)
    train, validation, test = _rows(table, *split_prompts(table, seed))
    rng = np.random.default_rng(seed)
    # A validation tenth of fewer than 400 prompts is topped up from the training prompts.
    order = np.concatenate([rng.permutation(validation), rng.permutation(train)])
    probes = np.sort(order[: min(PROBES, len(validation) + len(train) // 2)])
    ours, theirs = table.pool(seen), table.pool(unseen)
    known = np.concatenate([train, validation])
    costs = costs_of(theirs, known)
    under_seen = training_set(ours, vectors, costs_of(ours, known))
    under_unseen = training_set(theirs, vectors, costs)
    data = replace(under_seen.rows(known), validation=np.arange(len(known)) >= len(train))
    trial = Trial(
        name,
        seed,
        under_unseen.rows(probes),
        costs.rows(probes),
        under_unseen.rows(test),
        costs.rows(test),
    )
    return UnseenTrial(data, under_unseen.rows(np.setdiff1d(train, probes)), trial)


def _rows(table: RoutingTable, *parts: pd.Index) -> list[Rows]:
    return [table.prompts.index.get_indexer(part).astype(np.int64) for part in parts]


def _output_tokens(table: RoutingTable) -> Floats:
    """(N, E); an expert with no logged length has the pool's mean everywhere."""
    if "out_tokens" not in table.tensors:
        return np.full(table.quality.shape, UNKNOWN_TOKENS, dtype=np.float32)
    tokens = table.tensors["out_tokens"].to_numpy(dtype=np.float32).copy()
    unknown = np.isnan(tokens).all(axis=0)
    pool = np.nanmean(tokens) if not unknown.all() else UNKNOWN_TOKENS
    tokens[:, unknown] = pool
    return tokens
