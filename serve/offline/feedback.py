"""Users' scores as rows of a routing table: one measured answer a prompt, the others unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from serve.errors import TableError
from serve.feedback import Scored
from serve.offline.table import RoutingTable

TASK = "feedback"


def with_feedback(table: RoutingTable, scored: Sequence[Scored], weight: float) -> RoutingTable:
    """The table and a row for every score of an expert of it.

    A thumb is not a BERTSim, and happy users are not a good expert: a score counts as how far it
    lies from the mean score, times `weight`, laid on the expert's mean in the table. Weight 1
    trusts it like a measured answer, 0 teaches nothing.

    Args:
        table: N prompts.
        scored: users' scores; those of experts that the table does not have are left out.
        weight: 0..1.

    Raises:
        TableError: there is no score of an expert of the table.
    """
    known = [row for row in scored if row.expert in table.experts]
    if not known:
        raise TableError(f"no feedback with its prompt for any of {', '.join(table.experts)}")
    ids = pd.Index([f"feedback-{i:06}" for i in range(len(known))], name=table.prompts.index.name)
    prompts = pd.DataFrame(
        {"prompt": [row.prompt for row in known], "task": TASK, "split": "train"}, index=ids
    )
    mean = np.mean([row.score for row in known])
    usual = table.quality.mean()
    quality = pd.DataFrame(np.nan, index=ids, columns=table.quality.columns)
    for name, row in zip(ids, known, strict=True):
        taught = usual[row.expert] + weight * (row.score - mean)
        quality.loc[name, row.expert] = min(max(taught, 0.0), 1.0)
    gaps = {
        stem: tensor.reindex(tensor.index.append(ids)) for stem, tensor in table.tensors.items()
    }
    columns = [c for c in prompts if c in table.prompts]
    return replace(
        table,
        prompts=pd.concat([table.prompts, prompts[columns]]),
        quality=pd.concat([table.quality, quality]),
        tensors=gaps,
    )
