"""A small artifact with probes, made from the table of conftest.py with answers to be graded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from serve.offline.cost import costs_of
from serve.offline.table import RoutingTable
from serve.offline.train import learn
from serve.offline.trial import training_set
from tests.offline.conftest import FakeTaskEncoder, make_table

EXPERTS = ("cheap", "mid", "dear", "new")


def table_with_answers(prompts=300, signal=0.35, seed=0) -> RoutingTable:
    """Four experts; the fourth, `new`, is good at history alone."""
    made = make_table(prompts, signal, seed, experts=EXPERTS)
    made.prompts["answer"] = "yes"
    rng = np.random.default_rng(seed + 1)
    good = np.where(made.prompts["task"] == "history", 0.95, 0.3)
    made.quality["new"] = (rng.random(prompts) < good).astype(float)
    made.meta["grader"] = "exact"
    return made


def learned(out, made, experts=EXPERTS[:3], router="default", probes=120):
    """An artifact of some of the experts."""
    table = made.pool(experts)
    table = replace(table, prompts=table.prompts.copy())
    costs = costs_of(table)
    data = training_set(table, FakeTaskEncoder().encode(table.texts), costs)
    data = replace(data, validation=np.arange(len(table.prompts)) % 7 == 0)
    return learn(
        table, data, costs, router, FakeTaskEncoder(), out, table=table.fingerprint(), probes=probes
    )
