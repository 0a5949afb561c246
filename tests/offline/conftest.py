"""A routing table whose prompts tell two of three experts apart, and a fake encoder for it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from serve.offline.table import RoutingTable

TASKS = ("algebra", "poetry", "history")


class FakeTaskEncoder:
    """Reads the task and a number out of the text; called fake, it knows no language."""

    name = "fake-task/1"
    dimension = 8

    def encode(self, texts, lap=None):
        rows = []
        for text in texts:
            task, number = text.split(" ")
            rng = np.random.default_rng(int(number))
            vector = rng.normal(size=self.dimension) * 0.3
            vector[TASKS.index(task)] += 1
            rows.append(vector / np.linalg.norm(vector))
        return np.array(rows, dtype=np.float32)


def make_table(prompts=300, signal=0.35, seed=0, experts=("cheap", "mid", "dear")):
    """`cheap` is good at poetry, `dear` at the rest by as much as `signal`; 0: no difference."""
    rng = np.random.default_rng(seed)
    tasks = np.array(TASKS)[np.arange(prompts) % len(TASKS)]
    ids = pd.Index([f"p{i}" for i in range(prompts)], name="prompt_id")
    frame = pd.DataFrame(
        {"task": tasks, "prompt": [f"{t} {i}" for i, t in enumerate(tasks)], "in_tokens": 100},
        index=ids,
    )
    poetry = (tasks == "poetry")[:, None]
    good = 0.5 + signal * np.where(poetry, [[1, 0, -1]], [[-1, 0, 1]])
    good = np.hstack([good, np.full((prompts, max(0, len(experts) - 3)), 0.4)])[:, : len(experts)]
    quality = (rng.random(good.shape) < good).astype(float)
    price = np.array([1.0, 3.0, 10.0, *([2.0] * 9)])[: len(experts)]
    tokens = np.where(poetry, 40.0, 160.0) * np.ones(len(experts)) + rng.integers(0, 9, good.shape)
    names = list(experts)
    return RoutingTable(
        frame,
        pd.DataFrame(quality, index=ids, columns=names),
        {
            "out_tokens": pd.DataFrame(tokens, index=ids, columns=names),
            "cost_usd": pd.DataFrame((100 + tokens) * price / 1e6, index=ids, columns=names),
        },
        {"source": "made for a test"},
    )


@pytest.fixture
def table():
    return make_table()


@pytest.fixture
def task_encoder():
    return FakeTaskEncoder()
