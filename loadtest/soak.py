"""Faults under mixed traffic at 60 % of what the application sustains; every request is checked.

    .venv/bin/python -m loadtest.soak      # starts its own application: about 15 min on 2 cores

Two real engines and two ingress replicas, and a third expert, cheaper than both, at a fake endpoint
on the loopback that hangs, answers garbage, stops within an event or refuses, as the plan says. The
processes that die are the real ones. The request log is on a full disk, and a client reads one byte
a second throughout. Every request must end within its deadline in an answer or an error in form.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from loadtest.running import engine, replicas, running
from loadtest.traffic import Outcome, Traffic, percentile, session

SETTINGS = Path("deployments/local.yaml")
SHARE = 0.6
DEADLINE_S = 30.0
BACK_S = 30.0
UP_S, IN_A_ROW = 300.0, 6
"""A killed engine may take so long to be back: it loads beside others that are busy."""
CLOUD, SMALL, LARGE = "fake-cloud", "smollm2-135m", "gemma-3-270m"
MIX: list[dict[str, Any]] = [
    {"model": "auto"},
    {"model": "auto", "routing": {"deny": [CLOUD]}},
    {"model": "auto:fast"},
    {"model": "auto", "routing": {"deny": [CLOUD, SMALL]}},
    {"model": SMALL},
]


class FakeCloud:
    """An OpenAI-compatible endpoint that misbehaves as `mood` says."""

    def __init__(self) -> None:
        self.mood = "well"
        self.url = ""

    async def start(self) -> web.AppRunner:
        """Listen on a free port of the loopback."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        return runner

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": []})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body, mood = await request.json(), self.mood
        if mood == "hangs":
            await asyncio.sleep(3600)
        if mood == "refuses":
            return web.json_response({"error": {"message": "no"}}, status=500)
        if not body.get("stream"):
            if mood != "well":
                return web.Response(text="<html>garbage")
            message = {"role": "assistant", "content": "cloud"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 5, "completion_tokens": 1}
            return web.json_response({"choices": [choice], "usage": usage})
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for event in _events(mood):
            await response.write(event)
        return response


def _events(mood: str) -> list[bytes]:
    said = {"index": 0, "delta": {"content": "cloud"}, "finish_reason": None}
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 1}
    first, last, count = (
        f"data: {json.dumps(event)}\n\n".encode()
        for event in ({"choices": [said]}, {"choices": [end]}, {"choices": [], "usage": usage})
    )
    if mood == "garbage":
        return [b"data: <html>\n\n"]
    if mood == "half":
        return [first, last[:15]]
    return [first, last, count, b"data: [DONE]\n\n"]


def main() -> None:
    """Run and print; exit status 1 where a request went wrong."""
    sys.exit(asyncio.run(_run()))


async def _run() -> int:
    cloud = FakeCloud()
    runner = await cloud.start()

    def change(args: dict[str, Any]) -> None:
        remote = {"id": CLOUD, "remote": {"url": cloud.url}, "price": {"input": 0, "output": 0}}
        args["experts"].append(remote)
        args["router"].pop("artifact")
        args["router"]["replicas"] = {"min_replicas": 2, "max_replicas": 2}
        args["records"] = {"log": "/dev/full"}
        args["limits"] = {"first_token_s": 5, "cooldown_s": 2}

    loop = asyncio.get_running_loop()
    application = running(SETTINGS, change)
    url, pid = await loop.run_in_executor(None, application.__enter__)
    try:
        return await _soak(url, pid, cloud)
    finally:
        await loop.run_in_executor(None, application.__exit__, None, None, None)
        await runner.cleanup()


async def _soak(url: str, pid: int, cloud: FakeCloud) -> int:
    async with session() as http:
        calm = Traffic(url, MIX, DEADLINE_S)
        await calm.flat_out(2, 10, http)
        measured = await calm.flat_out(8, 30, http)
        rate = SHARE * len([o for o in measured if o.verdict == "whole"]) / 30
        print(f"{rate:.2f} requests/s are {SHARE:.0%} of what it sustains", flush=True)
        slow = asyncio.create_task(_slow_reader(url))
        print("\n| fault | requests | whole | error in form | cut | wrong | p95 s | back after s |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
        wrong = 0
        for name, seconds, fault in _plan(pid, cloud):
            wrong += await _phase(name, seconds, fault, Traffic(url, MIX, DEADLINE_S), rate, http)
            await _all_up(url, http)
        slow.cancel()
        print(f"\n{wrong} requests went wrong")
    return 1 if wrong else 0


Fault = Callable[[], Awaitable[None]]


def _plan(pid: int, cloud: FakeCloud) -> list[tuple[str, float, Fault]]:
    def mood(name: str) -> Fault:
        async def change() -> None:
            cloud.mood = name

        return change

    async def kill_engine() -> None:
        engine(pid, SMALL).send_signal(signal.SIGKILL)

    async def kill_replica() -> None:
        replicas(pid, f"LLMServer:{LARGE}")[0].send_signal(signal.SIGKILL)

    async def kill_ingress() -> None:
        replicas(pid, "RouterIngress")[0].send_signal(signal.SIGKILL)

    async def stop_engine() -> None:
        stopped = engine(pid, LARGE)
        stopped.send_signal(signal.SIGSTOP)
        asyncio.get_running_loop().call_later(15, stopped.send_signal, signal.SIGCONT)

    return [
        ("none", 30, mood("well")),
        ("an expert hangs", 30, mood("hangs")),
        ("it answers garbage", 20, mood("garbage")),
        ("it stops within an event", 20, mood("half")),
        ("it refuses", 20, mood("refuses")),
        ("it is well again", 30, mood("well")),
        ("SIGKILL of an engine", 90, kill_engine),
        ("SIGKILL of a replica", 90, kill_replica),
        ("SIGKILL of an ingress replica", 60, kill_ingress),
        ("SIGSTOP of an engine, 15 s", 45, stop_engine),
    ]


async def _phase(
    name: str,
    seconds: float,
    fault: Fault,
    traffic: Traffic,
    rate: float,
    http: aiohttp.ClientSession,
) -> int:
    """One row; how many requests went wrong."""
    load = asyncio.create_task(traffic.at(rate, seconds, http))
    await asyncio.sleep(3)
    struck = time.monotonic() - traffic.started
    await fault()
    await load
    verdicts = Counter(outcome.verdict for outcome in traffic.outcomes)
    good = {verdict: verdicts.pop(verdict, 0) for verdict in ("whole", "error", "cut")}
    times = [o.seconds for o in traffic.outcomes if o.verdict == "whole"]
    back = _back(traffic.outcomes, struck)
    cells = [name, len(traffic.outcomes), *good.values(), verdicts.total()]
    print("| " + " | ".join(map(str, cells)), f"| {percentile(times, 0.95):.1f} | {back:.1f} |")
    for verdict, count in verdicts.items():
        print(f"    {count} {verdict}")
    for outcome in traffic.outcomes:
        if outcome.verdict != "whole":
            print(
                f"{outcome.asked:6.1f} s {outcome.body['model']} {outcome.verdict} "
                f"{outcome.status}: {' '.join(outcome.told.split())}",
                file=sys.stderr,
            )
    sys.stdout.flush()
    return verdicts.total() + (back > BACK_S)


async def _all_up(url: str, http: aiohttp.ClientSession) -> None:
    """Wait for what the fault took: the next one is to find every expert, at each replica."""
    async with asyncio.timeout(UP_S):
        for expert in (SMALL, LARGE):
            answered = 0
            while answered < IN_A_ROW:
                body = {"model": expert, "max_tokens": 1}
                body["messages"] = [{"role": "user", "content": "Hello"}]
                async with http.post(f"{url}/v1/chat/completions", json=body) as answer:
                    answered = answered + 1 if answer.status == 200 else 0
                await asyncio.sleep(0.5)


def _back(outcomes: list[Outcome], struck: float) -> float:
    """Seconds after the fault until every later request that others could answer was whole.

    Requests that leave a single expert, by its name or by denying the others, do not count.
    """
    bad = [
        o.asked
        for o in outcomes
        if o.asked >= struck and o.verdict != "whole" and not _bound(o.body)
    ]
    return max(bad, default=struck) - struck


def _bound(body: dict[str, Any]) -> bool:
    return body["model"] == SMALL or len(body["routing"].get("deny", [])) == 2


async def _slow_reader(url: str) -> None:
    """One byte a second, again and again."""
    body = {"model": LARGE, "messages": [{"role": "user", "content": "Tell a long story."}]}
    async with session() as http:
        while True:
            try:
                async with http.post(
                    f"{url}/v1/chat/completions", json={**body, "stream": True}
                ) as answer:
                    while await answer.content.read(1):
                        await asyncio.sleep(1)
            except (aiohttp.ClientError, TimeoutError, OSError):
                await asyncio.sleep(1)


if __name__ == "__main__":
    main()
