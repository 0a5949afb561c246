"""What metrics and traces cost: two ingresses before one engine, one with them and one without.

    .venv/bin/python -m loadtest.metered    # about 5 min on 2 cores

Both are applications of one `serve run`: the router model, batching, failover, limits and bills are
on the path of both, and both reach one real vLLM server as a remote expert. The one with metrics
exports every trace too, to a receiver here that takes and drops it. Sixteen clients stream
from both in interleaved rounds; the figure is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import logging
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from openai import AsyncOpenAI
from ray.serve.deployment import Application
from ray.util import metrics

from loadtest.front import ask, bare_vllm
from loadtest.running import running
from serve.app import assembled
from serve.config import parse_settings
from serve.online.ingress import RouterIngress
from serve.settings_file import read_config, settings_of

LOCAL = Path("deployments/local.yaml")
CLIENTS = 16
TOKENS = 48
WITHOUT = "without"


class Unmetered(RouterIngress):
    """The ingress with every metric of its process silenced."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        for kind, method in (
            (metrics.Counter, "inc"),
            (metrics.Gauge, "set"),
            (metrics.Histogram, "observe"),
        ):
            setattr(kind, method, _silent)
        super().__init__(*args, **kwargs)


def build_without(args: dict[str, Any]) -> Application:
    """serve.app:build with that ingress."""
    return assembled(parse_settings(args, "args"), Unmetered)


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    logging.getLogger("httpx").setLevel(logging.WARNING)  # Ray, once imported, shows each request
    expert = settings_of(read_config(LOCAL), LOCAL).experts[0]
    with (
        bare_vllm(expert) as engine,
        receiver() as (collector, received),
        tempfile.TemporaryDirectory() as folder,
    ):
        file = Path(folder) / "metered.yaml"
        file.write_text(yaml.safe_dump(config_of(engine, expert.id, collector)))
        with running(file, lambda _: None) as (url, _):
            targets = {"with": f"{url}/v1", WITHOUT: f"{url}/{WITHOUT}/v1"}
            rates = asyncio.run(measure(targets, arguments.rounds))
    print(report(rates, received()))


def config_of(engine: str, model: str, collector: str) -> dict[str, Any]:
    """Both applications, their experts all at one engine: the shipped router stays as it is."""
    config: dict[str, Any] = read_config(LOCAL)
    (metered,) = config["applications"]
    for expert in metered["args"]["experts"]:
        for field in ("model", "engine", "env", "cpus"):
            expert.pop(field, None)
        expert |= {"remote": {"url": engine, "model": model}, "abilities": {"context": 2048}}
    bare = copy.deepcopy(metered)
    metered["args"]["tracing"] = {"endpoint": collector}
    bare |= {"name": WITHOUT, "route_prefix": f"/{WITHOUT}"}
    bare["import_path"] = "loadtest.metered:build_without"
    return config | {"applications": [metered, bare]}


@contextmanager
def receiver() -> Iterator[tuple[str, Callable[[], int]]]:
    """A collector that drops what it is sent: its URL, and how many exports have come."""
    came = []

    class Drop(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(len(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Drop)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", lambda: len(came)
    server.shutdown()


async def measure(targets: dict[str, str], rounds: int) -> dict[str, list[float]]:
    """Target -> tokens/s of each round; who begins a round is drawn."""
    clients = {
        name: AsyncOpenAI(base_url=url, api_key="none", max_retries=30, timeout=300)
        for name, url in targets.items()
    }
    rates: dict[str, list[float]] = {name: [] for name in targets}
    for name in (*targets, *targets):
        await one_round(clients[name])
    for _ in range(rounds):
        for name in random.sample(list(targets), len(targets)):
            rates[name].append(await one_round(clients[name]))
    return rates


async def one_round(client: AsyncOpenAI) -> float:
    """Sixteen clients ask `auto` at once, each for TOKENS tokens; tokens/s of all."""
    started = time.perf_counter()
    await asyncio.gather(*(ask(client, "auto") for _ in range(CLIENTS)))
    return CLIENTS * TOKENS / (time.perf_counter() - started)


def report(rates: dict[str, list[float]], exports: int) -> str:
    """Medians, and the ratio of rounds side by side with its 95 % interval (bootstrap)."""
    pairs = [a / b for a, b in zip(rates["with"], rates[WITHOUT], strict=True)]
    draws = sorted(statistics.median(random.choices(pairs, k=len(pairs))) for _ in range(2000))
    with_, without = (statistics.median(rates[name]) for name in ("with", WITHOUT))
    return "\n".join(
        [
            "| clients | rounds | tokens/s without | tokens/s with | ratio | 95 % of the ratio |",
            "|---|---|---|---|---|---|",
            f"| {CLIENTS} | {len(pairs)} | {without:.1f} | {with_:.1f} "
            f"| {statistics.median(pairs):.3f} | {draws[50]:.3f} to {draws[1949]:.3f} |",
            f"\n{exports} exports of traces were received.",
        ]
    )


def _silent(*_: Any, **__: Any) -> None:
    """In place of a metric's method."""


if __name__ == "__main__":
    main()
