"""How long routers take to fit on a table, and how many prompts a second they judge.

    .venv/bin/python loadtest/routers.py ../shared/data/mmlu_pro --without NAME ...

One split, vectors already computed (the first run computes and keeps them). A prediction is from
vectors to every expert's quality and answer length, in batches of 4,096.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from serve.offline.encoders import reading
from serve.offline.fit.registry import ROUTERS, parse_router
from serve.offline.guard import calibrate
from serve.offline.table import RoutingTable
from serve.offline.trial import split_trial

BATCH = 4096
PREDICTED = 100_000
"""Prompts of a timed prediction; the test prompts are repeated up to as many."""


def main() -> None:
    """Print a Markdown table, a line for each router."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--without", action="append", default=[], metavar="EXPERT")
    parser.add_argument("--router", action="append", metavar="NAME", help="default: all but bert")
    arguments = parser.parse_args()
    table = RoutingTable.load(arguments.table)
    table = table.pool([expert for expert in table.experts if expert not in arguments.without])
    # Read as `pointsman evaluate` reads them, so that both share the cache.
    texts = table.rows(table.prompts.index[table.prompts["prompt"].notna()])
    vectors = reading("default").vectors(texts.texts)
    comparable, _ = table.comparable(arguments.table)
    vectors = vectors[texts.prompts.index.get_indexer(comparable.prompts.index)]
    trial = split_trial(arguments.table.name, comparable, vectors, 0)
    prompts, experts = trial.data.quality.shape
    print(f"Fitted on {prompts} prompts and {experts} experts.\n")
    print("| router | fit, s | predicted prompts/s |\n|---|---|---|")
    for name in arguments.router or [name for name in ROUTERS if name != "bert"]:
        router, settings = parse_router(name)
        start = time.perf_counter()
        fitted = router.fit(trial.data, seed=0, **settings)
        if router.guarded:
            calibrate(fitted, trial.data, trial.costs)
        fit = time.perf_counter() - start
        many = np.resize(trial.test.vectors, (PREDICTED, trial.test.vectors.shape[1]))
        start = time.perf_counter()
        for begin in range(0, len(many), BATCH):
            fitted.predictor.predict(many[begin : begin + BATCH])
        rate = len(many) / (time.perf_counter() - start)
        print(f"| {name} | {fit:.1f} | {rate:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
