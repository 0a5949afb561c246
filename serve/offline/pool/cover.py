"""Which prompts stand for a table: every cluster by its share, and any first n of them likewise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from serve.offline.cost import Costs
from serve.offline.fit.data import Fitted, Rows, TrainingSet
from serve.offline.fit.kmeans import centroids
from serve.offline.pool.probes import Probes
from serve.offline.table import RoutingTable
from serve.protocol import Floats, Prediction
from serve.routing.clusters import KMeansPredictor

KEPT = ("cost_usd", "in_tokens", "out_tokens")
"""Tensors that go with the probes; no expert's answers do."""

CLUSTERS, IN_A_CLUSTER = 20, 15
"""At most so many clusters, of so many prompts in the mean; our default: of 200 probes each then
has about ten, which is few enough to read and enough to say something of an expert there."""


def choose(
    table: RoutingTable,
    data: TrainingSet,
    costs: Costs,
    fitted: Fitted,
    *,
    wanted: int,
    seed: int,
) -> Probes:
    """The prompts of a table that stand for it; those that all experts answered go first.

    Args:
        table: what the router was fitted on.
        data: the same, as fits read it.
        costs: of the same prompts.
        fitted: the router; a probe is a prompt that it has a held-out prediction for.
        wanted: how many.
        seed: of clusters and order.
    """
    prompts = table.prompts.iloc[fitted.held_rows]
    usable = ~prompts["prompt"].duplicated()
    if "answer" in prompts:
        usable &= prompts["answer"].notna()
    held = np.flatnonzero(usable)  # positions among the held-out rows
    rows = fitted.held_rows[held]
    clusters = _clusters(data.vectors[rows], seed)
    order = cover(clusters, table.complete.to_numpy()[rows], wanted, seed)
    said, chosen = fitted.held_out, rows[order]
    kept = {stem: tensor for stem, tensor in table.tensors.items() if stem in KEPT}
    return Probes(
        replace(table, tensors=kept).rows(table.prompts.index[chosen]),
        data.vectors[chosen],
        clusters[order],
        Prediction(said.quality[held[order]], said.output_tokens[held[order]]),
        costs.rows(chosen),
    )


def _clusters(vectors: Floats, seed: int) -> Rows:
    """(N, D) -> (N,) number of the nearest of a few k-means centres."""
    centres = centroids(vectors, max(1, min(CLUSTERS, len(vectors) // IN_A_CLUSTER)), seed)
    blank = np.zeros((len(centres), 0), dtype=np.float32)
    return np.asarray(KMeansPredictor((), blank, blank, centres).phi(vectors).argmax(axis=1))


def cover(clusters: Rows, preferred: NDArray[np.bool_], wanted: int, seed: int) -> Rows:
    """Rows in the order in which they are to be asked, none of them twice.

    Each cluster has its first prompt before any has its second; from there on the next prompt goes
    to the cluster that has the fewest for its size, by Sainte-Lague's rule, which takes back
    nothing when one more is asked for. Within a cluster the order is random: a mean over the
    chosen is then an estimate of the mean over all, which the prompts nearest to the centres,
    alike as they are, would not give.

    Args:
        clusters: (N,) cluster of each prompt.
        preferred: (N,) prompts that come before the others of their cluster.
        wanted: how many; fewer where there are fewer.
        seed: of the order.

    Returns:
        (min(wanted, N),) row numbers.
    """
    order = np.random.default_rng(seed).permutation(len(clusters))
    order = order[np.argsort(~preferred[order], kind="stable")]
    names, sizes = np.unique(clusters, return_counts=True)
    waiting = [iter(order[clusters[order] == name]) for name in names]
    taken = np.zeros(len(names))
    chosen = []
    for _ in range(min(wanted, len(clusters))):
        claim = sizes / (2 * taken + 1) + len(clusters) * (taken == 0)
        to = int(np.where(taken < sizes, claim, -1).argmax())
        chosen.append(next(waiting[to]))
        taken[to] += 1
    return np.array(chosen, dtype=np.int64)
