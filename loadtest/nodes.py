"""A node dies under load, then the head's GCS; every request is checked.

    .venv/bin/python -m loadtest.nodes     # its own cluster and Redis: about 6 min on 2 cores

Three Ray nodes on this machine: the head with the ingress and one expert, two workers with a
replica of the other expert each, all real engines. At 60 % of what they sustain a worker is powered
off (SIGKILL of its raylet and of all below), and another is added; then the GCS, which keeps its
state in a real Redis, is killed and started again. Every request must end within its 30 s in an
answer or an error in form, and a minute after the fault every one in an answer.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.cluster import Nodes
from loadtest.running import engines_below, replicas, running
from loadtest.traffic import Outcome, Traffic, percentile, session
from serve import ports

SETTINGS = Path("deployments/local.yaml")
SMALL, LARGE = "smollm2-135m", "gemma-3-270m"
SHARE = 0.6
DEADLINE_S = 30.0
WHOLE_S = 60.0
"""After this long from a fault on, every request is answered."""
HEAD: dict[str, Any] = {"num_cpus": 1, "resources": {"head": 3}}
WORKER: dict[str, Any] = {"num_cpus": 1, "resources": {"worker": 1}}
BACK_S = 240.0
GCS_GONE_S = 15.0
MEASURE_S = 20.0
LONG_AFTER_S, LONG_REQUESTS, LONG_TOKENS = 3.0, 6, 60
LONG: list[dict[str, Any]] = [{"model": SMALL, "min_tokens": LONG_TOKENS, "ignore_eos": True}]
"""Answers that are under way when the fault strikes, half of them streamed."""
MIX: list[dict[str, Any]] = [
    {"model": "auto"},
    {"model": SMALL},
    {"model": "auto", "routing": {"deny": [LARGE]}},
    {"model": LARGE},
]


@dataclass
class Phase:
    """Traffic around one fault.

    Attributes:
        name: of the fault.
        struck: seconds into the phase when it happened.
        outcomes: of every request.
        under_way: of the long answers that had begun.
    """

    name: str
    struck: float
    outcomes: list[Outcome]
    under_way: list[Outcome]

    @property
    def all(self) -> list[Outcome]:
        """Both."""
        return [*self.outcomes, *self.under_way]

    @property
    def wrong(self) -> list[Outcome]:
        """Those that ended neither in an answer nor in an error in form within their deadline."""
        return [o for o in self.all if o.verdict not in ("whole", "error")]

    @property
    def back_s(self) -> float:
        """Seconds after the fault until every later request was answered."""
        bad = [o.asked for o in self.outcomes if o.asked >= self.struck and o.verdict != "whole"]
        return max(bad, default=self.struck) - self.struck

    @property
    def holds(self) -> bool:
        """Nothing went wrong, and the service was whole again in time."""
        return not self.wrong and self.back_s <= WHOLE_S

    def row(self) -> str:
        """Of the table."""
        verdicts = Counter(outcome.verdict for outcome in self.all)
        good = [verdicts["whole"], verdicts["error"]]
        p95 = percentile([o.seconds for o in self.outcomes if o.verdict == "whole"], 0.95)
        cells = [self.name, len(self.all), *good, len(self.wrong)]
        return "| " + " | ".join([*map(str, cells), f"{p95:.1f}", f"{self.back_s:.1f}"]) + " |"


class Pool:
    """The nodes under an application, and what happens to them.

    Args:
        nodes: the head alone.
    """

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._workers = [nodes.add(**WORKER), nodes.add(**WORKER)]

    def lose_worker(self) -> None:
        """One is powered off, and another joins, as a cluster's autoscaler would have it."""
        self._nodes.kill(self._workers.pop())
        self._workers.append(self._nodes.add(**WORKER))

    def lose_gcs(self) -> None:
        """It dies, and its pod is started again a while later."""
        self._nodes.kill_gcs()
        time.sleep(GCS_GONE_S)
        self._nodes.start_gcs()

    def engines(self) -> int:
        """Replicas of SMALL whose engine runs."""
        found = replicas(os.getpid(), f"LLMServer:{SMALL}")
        return sum(bool(engines_below(replica)) for replica in found)


def main() -> None:
    """Run and print a Markdown table; exit status 1 where a phase does not hold."""
    phases = run()
    print("| fault | requests | whole | error in form | wrong | p95 s | whole again after s |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(phase.row() for phase in phases))
    for each in phases:
        for outcome in each.all:
            if outcome.verdict != "whole":
                told = " ".join(outcome.told.split())
                print(
                    f"{each.name}: {outcome.asked:.1f} s {outcome.verdict} {told}", file=sys.stderr
                )
    sys.exit(not all(phase.holds for phase in phases))


def run() -> list[Phase]:
    """Every phase, in order."""
    with redis_server() as redis, started(redis) as (url, pool):
        rate = SHARE * asyncio.run(_sustained(url))
        print(f"{rate:.2f} requests/s are {SHARE:.0%} of what it sustains", flush=True)
        lost = phase("a worker node dies", url, rate, 75, pool.lose_worker)
        _until(lambda: pool.engines() == 2, BACK_S, "the replica is back")
        gone = phase("the head's GCS dies", url, rate, 40, pool.lose_gcs)
        return [lost, gone]


def phase(name: str, url: str, rate: float, seconds: float, fault: Callable[[], None]) -> Phase:
    """Traffic for so long, and the fault while it comes: in this thread, as Ray would have it."""
    traffic = Traffic(url, MIX, DEADLINE_S)
    under_way = Traffic(url, LONG, DEADLINE_S, tokens=LONG_TOKENS)
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(asyncio.run, _load(traffic, under_way, rate, seconds))
        time.sleep(LONG_AFTER_S + 2)
        struck = time.monotonic() - traffic.started
        fault()
        load.result()
    return Phase(name, struck, traffic.outcomes, under_way.outcomes)


async def _sustained(url: str) -> float:
    """Requests/s that a few clients without a pause get answered."""
    async with session() as http:
        calm = Traffic(url, MIX, DEADLINE_S)
        await calm.flat_out(4, 10, http)
        measured = await calm.flat_out(6, MEASURE_S, http)
    return len([o for o in measured if o.verdict == "whole"]) / MEASURE_S


async def _load(traffic: Traffic, under_way: Traffic, rate: float, seconds: float) -> None:
    async with session() as http, asyncio.TaskGroup() as group:
        group.create_task(traffic.at(rate, seconds, http))
        await asyncio.sleep(LONG_AFTER_S)
        for _ in range(LONG_REQUESTS):
            group.create_task(under_way.one(http))


@contextmanager
def started(redis: str) -> Iterator[tuple[str, Pool]]:
    """The URL of the application on its nodes."""

    def change(args: dict[str, Any]) -> None:
        small, large = args["experts"]
        small["resources"] = {"worker": 1}
        large["resources"] = args["router"]["resources"] = {"head": 1}
        small["autoscaling"] = {"min_replicas": 2, "max_replicas": 2}
        args["records"] = {}

    nodes = Nodes(redis, {}, **HEAD)
    try:
        pool = Pool(nodes)
        with running(SETTINGS, change, RAY_ADDRESS=nodes.address) as (url, _):
            yield url, pool
    finally:
        nodes.stop()


@contextmanager
def redis_server() -> Iterator[str]:
    """HOST:PORT of a Redis of its own that writes nothing to disk."""
    port = ports.free(0)
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {seconds:.0f} s: {what}")
        time.sleep(1)


if __name__ == "__main__":
    main()
