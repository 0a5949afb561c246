"""Ten times the sustainable load for two minutes: what is accepted stays fast, the rest is refused.

    .venv/bin/python -m loadtest.overload      # starts its own application: about 8 min on 2 cores

Each expert takes so many requests at once that an answer takes no more than twice its time alone
(max_requests: 1 on two cores); what comes beyond is a 429 with Retry-After.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from loadtest.running import memory, running
from loadtest.traffic import Outcome, Traffic, percentile, session

SETTINGS = Path("deployments/local.yaml")
MAX_REQUESTS = 1
TIMES = 10
OVERLOAD_S = 120.0
MEASURE_S = 30.0
TOKENS = 16
MIX: list[dict[str, Any]] = [{"model": "auto"}]
INGRESS = "RouterIngress"


def main() -> None:
    """Run and print a Markdown table."""

    def change(args: dict[str, Any]) -> None:
        for expert in args["experts"]:
            expert["max_requests"] = MAX_REQUESTS
        args.pop("records")

    with running(SETTINGS, change) as (url, pid):
        asyncio.run(_run(url, pid))


async def _run(url: str, pid: int) -> None:
    async with session() as http:
        warm = Traffic(url, MIX, tokens=TOKENS)
        await warm.flat_out(1, 10, http)
        alone = await Traffic(url, MIX, tokens=TOKENS).flat_out(1, MEASURE_S, http)
        full = await Traffic(url, MIX, tokens=TOKENS).flat_out(2 * MAX_REQUESTS, MEASURE_S, http)
        rate = len([o for o in full if o.verdict == "whole"]) / MEASURE_S
        before = memory(pid, INGRESS)
        print(f"{rate:.2f} requests/s are sustained; now {TIMES * rate:.1f}", flush=True)
        over = Traffic(url, MIX, tokens=TOKENS)
        await over.at(TIMES * rate, OVERLOAD_S, http)
        grown = memory(pid, INGRESS) - before
        after = await Traffic(url, MIX, tokens=TOKENS).flat_out(1, MEASURE_S, http)
    print("\n| | requests | answered | p95 s | 429 | p95 ms of a 429 | anything else |")
    print("|---|---|---|---|---|---|---|")
    for name, outcomes in (("one client", alone), ("overload", over.outcomes), ("after", after)):
        print(_row(name, outcomes))
    print(f"\nthe ingress grew by {grown / 2**20:.0f} MiB")
    sys.stdout.flush()


def _row(name: str, outcomes: list[Outcome]) -> str:
    whole = [o.seconds for o in outcomes if o.verdict == "whole"]
    refused = [1000 * o.seconds for o in outcomes if o.status == 429 and o.verdict == "error"]
    other = len(outcomes) - len(whole) - len(refused)
    slow, fast = percentile(whole, 0.95), percentile(refused, 0.95)
    cells = [name, len(outcomes), len(whole), f"{slow:.2f}", len(refused), f"{fast:.0f}", other]
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    main()
