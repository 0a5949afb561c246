"""Promotes two artifacts in turn under 60 % of what the application sustains, and counts failures.

    .venv/bin/python loadtest/reload.py A B --url http://127.0.0.1:8000 --dashboard http://127.0.0.1:8265

First as many clients as the application is asked to hold ask without a pause: what it answers then
is what it sustains. Then requests start at 60 % of that rate, whether or not earlier ones have been
answered, while `pointsman promote` changes the router again and again.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import Counter
from pathlib import Path

import aiohttp

SHARE = 0.6
CLIENTS = 16
MEASURE_S = 30.0
BODY = {
    "model": "auto",
    "messages": [{"role": "user", "content": "Name a colour."}],
    "max_tokens": 8,
}


def main() -> None:
    """Run and print; exit status 1 where a request failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artifacts", type=Path, nargs=2)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--dashboard", default="http://127.0.0.1:8265")
    parser.add_argument("--times", type=int, default=4, help="promotions")
    sys.exit(asyncio.run(_run(parser.parse_args())))


async def _run(arguments: argparse.Namespace) -> int:
    url = f"{arguments.url}/v1/chat/completions"
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=120)
    ) as session:
        rate = SHARE * await _sustained(session, url)
        print(f"{rate:.2f} requests/s are {SHARE:.0%} of what it sustains")
        seen: Counter[tuple[int | str, str]] = Counter()
        stop = asyncio.Event()
        load = asyncio.create_task(_open_loop(session, url, rate, seen, stop))
        for i in range(arguments.times):
            await _promote(arguments.artifacts[i % 2], arguments.dashboard)
        stop.set()
        await load
    for (status, router), count in sorted(seen.items(), key=str):
        print(f"{count} answers {status} by {router or 'nobody'}")
    failed = sum(count for (status, _), count in seen.items() if status != 200)
    print(f"{failed} of {seen.total()} requests failed during {arguments.times} promotions")
    return 1 if failed else 0


async def _sustained(session: aiohttp.ClientSession, url: str) -> float:
    """Answers a second with CLIENTS asking without a pause."""
    deadline, answered = time.monotonic() + MEASURE_S, 0

    async def client() -> None:
        nonlocal answered
        while time.monotonic() < deadline:
            status, _ = await _ask(session, url)
            answered += status == 200 and time.monotonic() < deadline

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return answered / MEASURE_S


async def _open_loop(
    session: aiohttp.ClientSession,
    url: str,
    rate: float,
    seen: Counter[tuple[int | str, str]],
    stop: asyncio.Event,
) -> None:
    async def one() -> None:
        seen[await _ask(session, url)] += 1

    async with asyncio.TaskGroup() as group:
        while not stop.is_set():
            group.create_task(one())
            await asyncio.sleep(1 / rate)


async def _ask(session: aiohttp.ClientSession, url: str) -> tuple[int | str, str]:
    try:
        async with session.post(url, json=BODY) as answer:
            await answer.read()
            return answer.status, answer.headers.get("x-pointsman-router", "")
    except (aiohttp.ClientError, TimeoutError) as error:
        return type(error).__name__, ""


async def _promote(artifact: Path, dashboard: str) -> None:
    pointsman = Path(sys.executable).with_name("pointsman")
    words = [artifact, "--dashboard", dashboard, "--last", "0"]
    process = await asyncio.create_subprocess_exec(pointsman, "promote", *map(str, words))
    if await process.wait() != 0:
        raise SystemExit(f"{artifact} was not promoted")


if __name__ == "__main__":
    main()
