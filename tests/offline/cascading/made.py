"""A table of two tiers whose best threshold is known, or whose signal says nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from serve.offline.table import RoutingTable

BORDER = -1.0
"""The cheap expert is right where its mean_logprob is at or above this."""


def cascade_table(prompts=400, informed=True, seed=0):
    """`cheap` is right on 60 %, `dear` always; 1 and 10 USD per 1000 answers."""
    rng = np.random.default_rng(seed)
    signal = np.where(
        np.arange(prompts) % 5 < 3, rng.uniform(BORDER, 0, prompts), rng.uniform(-3, -1.1, prompts)
    )
    right = signal >= BORDER
    if not informed:
        signal = rng.permutation(signal)
    ids = pd.Index([f"p{i}" for i in range(prompts)], name="prompt_id")

    def cells(cheap, dear):
        return pd.DataFrame({"cheap": cheap, "dear": dear}, index=ids, dtype=float)

    return RoutingTable(
        pd.DataFrame({"task": "all", "prompt": [f"What is {i}?" for i in range(prompts)]}, ids),
        cells(right, 1.0),
        {"cost_usd": cells(0.001, 0.01), "mean_logprob": cells(signal, np.nan)},
        {"source": "made for a test"},
    )
