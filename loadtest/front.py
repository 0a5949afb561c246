"""What the gateway costs: one expert through it and bare, side by side, in interleaved rounds.

    make serve                            # in one shell
    .venv/bin/python loadtest/front.py    # in another: about 10 min on 2 cores

Starts a bare vLLM server with the same model, arguments and environment as the expert in
deployments/local.yaml, and asks both in turn. Talks to the loopback only and ends by itself.
Time to first token (TTFT) is to the first chunk with text; tokens/s is of all clients together.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from openai import AsyncOpenAI

from serve import weights
from serve.config import ExpertSettings
from serve.hardware import cpu_dtype
from serve.settings_file import read_config, settings_of

PROMPT = "Tell me in a few sentences how a sailing boat can move against the wind."
TOKENS = 48
CLIENTS = (1, 4, 16)
ROUNDS = 3
START_TIMEOUT_S = 300


class Sample(NamedTuple):
    """One round at one target: tokens/s of all clients, and their median seconds to a token."""

    tokens_per_s: float
    ttft_s: float


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1", help="of the application")
    parser.add_argument("--settings", type=Path, default=Path("deployments/local.yaml"))
    arguments = parser.parse_args()
    expert = settings_of(read_config(arguments.settings), arguments.settings).experts[0]
    with bare_vllm(expert) as bare:
        samples = asyncio.run(measure({"bare": bare, "gateway": arguments.url}, expert.id))
    print(report(samples))


@contextmanager
def bare_vllm(expert: ExpertSettings) -> Iterator[str]:
    """vLLM's own server with this expert, on a free port; yields its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", weights.resolve(expert.here), "--served-model-name", expert.id]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    for name, value in {"dtype": cpu_dtype(), **expert.engine}.items():
        command.append("--" + name.replace("_", "-"))
        if value is not True:
            command.append(json.dumps(value) if isinstance(value, dict) else str(value))
    server = subprocess.Popen(
        command,
        env=os.environ | expert.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_healthy(f"http://127.0.0.1:{port}/health", server)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait()


def wait_until_healthy(url: str, server: subprocess.Popen[bytes]) -> None:
    """Return once the server answers; exit where it ends or never does."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(1)
    sys.exit("the bare vLLM server did not start")


async def measure(targets: dict[str, str], model: str) -> dict[tuple[str, int], list[Sample]]:
    """(target, clients) -> one sample a round; targets take turns within a round."""
    samples: dict[tuple[str, int], list[Sample]] = {}
    clients = {
        name: AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=300)
        for name, url in targets.items()
    }
    for name in targets:
        await one_round(clients[name], model, 1)  # an engine's first answer is slow
    for count in CLIENTS:
        for number in range(ROUNDS):
            order = list(targets) if number % 2 == 0 else list(targets)[::-1]
            for name in order:
                sample = await one_round(clients[name], model, count)
                samples.setdefault((name, count), []).append(sample)
                print(f"{count:2} clients, {name}: {sample.tokens_per_s:.0f} tokens/s", flush=True)
    return samples


async def one_round(client: AsyncOpenAI, model: str, count: int) -> Sample:
    """`count` clients ask at once, each for TOKENS tokens."""
    started = time.perf_counter()
    ttfts = await asyncio.gather(*(ask(client, model) for _ in range(count)))
    seconds = time.perf_counter() - started
    return Sample(count * TOKENS / seconds, statistics.median(ttfts))


async def ask(client: AsyncOpenAI, model: str) -> float:
    """One streamed answer; seconds to its first token."""
    started = time.perf_counter()
    first = 0.0
    stream = await client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": PROMPT}],
        max_tokens=TOKENS,
        temperature=0,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    async for chunk in stream:
        if not first and chunk.choices and chunk.choices[0].delta.content:
            first = time.perf_counter() - started
    return first


def report(samples: dict[tuple[str, int], list[Sample]]) -> str:
    """Medians over the rounds, and the gateway's share of the bare server's throughput."""
    lines = [
        "| clients | bare tokens/s | gateway tokens/s | ratio | bare TTFT ms | gateway TTFT ms |",
        "|---|---|---|---|---|---|",
    ]
    for count in CLIENTS:
        rate = {n: statistics.median(s.tokens_per_s for s in samples[n, count]) for n in NAMES}
        ttft = {n: statistics.median(s.ttft_s for s in samples[n, count]) * 1000 for n in NAMES}
        lines.append(
            f"| {count} | {rate['bare']:.1f} | {rate['gateway']:.1f} "
            f"| {rate['gateway'] / rate['bare']:.2f} "
            f"| {ttft['bare']:.0f} | {ttft['gateway']:.0f} |"
        )
    return "\n".join(lines)


NAMES = ("bare", "gateway")

if __name__ == "__main__":
    main()
