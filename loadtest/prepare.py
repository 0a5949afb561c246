"""Whether prepare keeps an expert busy: its tokens/s beside a bare client's, in interleaved rounds.

    .venv/bin/python loadtest/prepare.py                # against a bare vLLM server, about 10 min
    .venv/bin/python loadtest/prepare.py --url URL/v1   # and through a running application

The bare client posts whole, unstreamed requests to a bare vLLM server and reads nothing of the
answer but its count of tokens: the least that asking can cost. prepare streams every answer, to
time its first token. All ask the same prompts at the same concurrency, greedily. The likelihood
of the reference is one more pass of the engine, so it has a row of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
from front import bare_vllm

from serve.offline.asking.ask import Answer, Endpoint, Limits, ask_all
from serve.offline.asking.prompts import Prompt, read_prompts
from serve.settings_file import read_config, settings_of

PROMPTS = 32
TOKENS = 48
ROUNDS = 3


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", help="of a running application, with /v1")
    parser.add_argument("--settings", type=Path, default=Path("deployments/local.yaml"))
    parser.add_argument("--prompts", type=Path, default=Path("deployments/local/prompts.jsonl"))
    parser.add_argument("--concurrency", type=int, default=16)
    arguments = parser.parse_args()
    expert = settings_of(read_config(arguments.settings), arguments.settings).experts[0]
    prompts = read_prompts(arguments.prompts)
    prompts = prompts[:: max(1, len(prompts) // PROMPTS)][:PROMPTS]
    count = arguments.concurrency
    with bare_vllm(expert) as bare:
        ways: dict[str, Callable[[], int]] = {
            "bare client": lambda: asyncio.run(ask_bare(prompts, expert.id, bare, count)),
            "prepare": lambda: prepare(prompts, expert.id, bare, count, likelihood=False),
            "prepare, with likelihoods": lambda: prepare(
                prompts, expert.id, bare, count, likelihood=True
            ),
        }
        if arguments.url:
            ways["prepare, through the gateway"] = lambda: prepare(
                prompts, expert.id, arguments.url, count, likelihood=False
            )
        print(report(measure(ways)))


def measure(ways: dict[str, Callable[[], int]]) -> dict[str, list[float]]:
    """Way -> tokens/s, one a round; the first round warms the engines and does not count."""
    rates: dict[str, list[float]] = {}
    for number in range(ROUNDS + 1):
        order = list(ways) if number % 2 else list(ways)[::-1]
        for name in order:
            started = time.perf_counter()
            tokens = ways[name]()
            rate = tokens / (time.perf_counter() - started)
            print(f"round {number}, {name}: {tokens} tokens, {rate:.1f} tokens/s", flush=True)
            if number:
                rates.setdefault(name, []).append(rate)
    return rates


async def ask_bare(prompts: Sequence[Prompt], model: str, url: str, count: int) -> int:
    """The tokens of all answers; `count` requests under way at once."""
    gate = asyncio.Semaphore(count)

    async def one(prompt: Prompt) -> int:
        body = {
            "model": model,
            "messages": list(prompt.messages),
            "temperature": 0,
            "max_tokens": TOKENS,
        }
        async with gate:
            answer = await client.post(f"{url}/chat/completions", json=body)
        return int(answer.json()["usage"]["completion_tokens"])

    async with httpx.AsyncClient(timeout=600) as client:
        return sum(await asyncio.gather(*map(one, prompts)))


def prepare(
    prompts: Sequence[Prompt], model: str, url: str, count: int, *, likelihood: bool
) -> int:
    """The tokens of all answers, asked as `pointsman prepare` asks."""
    limits = Limits(concurrency=count, max_tokens=TOKENS, timeout_s=600, likelihood=likelihood)
    answers: list[Answer] = []
    ask_all([(prompt, model) for prompt in prompts], Endpoint(url), limits, answers.append)
    return sum(answer.out_tokens or 0 for answer in answers)


def report(rates: dict[str, list[float]]) -> str:
    """Medians over the rounds, and the share of the bare client's."""
    bare = statistics.median(rates["bare client"])
    lines = ["| asked by | tokens/s | ratio |", "|---|---|---|"]
    for name, values in rates.items():
        rate = statistics.median(values)
        lines.append(f"| {name} | {rate:.1f} | {rate / bare:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
