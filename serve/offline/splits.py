"""A routing table split by prompt and by expert, as both papers' protocols ask."""

from __future__ import annotations

import numpy as np
import pandas as pd

from serve.errors import TableError
from serve.offline.table import RoutingTable


def split_prompts(
    table: RoutingTable, seed: int, shares: tuple[float, float] = (0.6, 0.1)
) -> tuple[pd.Index, pd.Index, pd.Index]:
    """Ids of train, validation and test prompts: a seeded shuffle within every task.

    Prompts of one text go together, or a router would be tested on what it was trained on. A prompt
    with a missing answer is no test prompt.

    Args:
        table: to be split.
        seed: of the shuffle.
        shares: of train and validation; the rest is test.
    """
    rng = np.random.default_rng(seed)
    texts = table.prompts["prompt"].astype(str)
    first = ~texts.duplicated()
    tasks = table.prompts["task"].astype(str)
    where: dict[str, int] = {}
    for _, group in texts[first].groupby(tasks[first], sort=True):
        shuffled = group.to_numpy()[rng.permutation(len(group))]
        bounds = [round(shares[0] * len(group)), round(sum(shares) * len(group))]
        for part, names in enumerate(np.split(shuffled, bounds)):
            where.update(dict.fromkeys(names, part))
    parts = texts.map(where).to_numpy()
    train, validation, test = (table.prompts.index[parts == part] for part in range(3))
    return train, validation, test[table.complete[test]]


def split_experts(table: RoutingTable, seed: int) -> tuple[list[str], list[str]]:
    """Two thirds of the experts, seen in training, and the unseen third (UniRoute's protocol).

    Raises:
        TableError: fewer than two experts on either side.
    """
    unseen = round(len(table.experts) / 3)
    if unseen < 2:
        raise TableError(
            f"the unseen-experts protocol holds out a third of the experts and needs at least 2 "
            f"of them; the table has {len(table.experts)} experts"
        )
    order = np.random.default_rng(seed).permutation(len(table.experts))
    held = {table.experts[i] for i in order[:unseen]}
    return [e for e in table.experts if e not in held], [e for e in table.experts if e in held]
