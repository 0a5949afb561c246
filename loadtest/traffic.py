"""Mixed traffic, and what came of each request: whole, refused in form, or wrong."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

PROMPTS = (
    "Name a colour.",
    "What is 17 * 23?",
    "Write a sentence about the sea.",
    "Which river flows through Vienna?",
)


@dataclass
class Outcome:
    """One request.

    Attributes:
        asked: seconds since the start, when it was sent.
        body: what was asked.
        seconds: until its last byte.
        status: HTTP status; 0 where the connection broke.
        expert: who answered, or "".
        verdict: whole, error (in form), cut (the connection broke), or what is wrong with it.
        answers: how many answers came.
        told: an error's code and message.
    """

    asked: float
    body: dict[str, Any]
    seconds: float = 0.0
    status: int = 0
    expert: str = ""
    verdict: str = "cut"
    answers: int = 0
    told: str = ""


@dataclass
class Traffic:
    """Requests of a mix, each checked.

    Args:
        url: of the application.
        mix: bodies, drawn in turn; `messages` and the stream flag are added.
        deadline_s: routing.max_latency_s of each request.
        tokens: max_tokens of each.
    """

    url: str
    mix: Sequence[dict[str, Any]]
    deadline_s: float = 30.0
    tokens: int = 8
    outcomes: list[Outcome] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._bodies = (self._body(i) for i in itertools.count())

    def _body(self, i: int) -> dict[str, Any]:
        body = dict(self.mix[i % len(self.mix)])
        routing = {**body.get("routing", {}), "max_latency_s": self.deadline_s}
        message = {"role": "user", "content": f"{random.choice(PROMPTS)} ({i})"}
        stream = i % 2 == 0
        extra = {"routing": routing, "messages": [message], "max_tokens": self.tokens}
        return {**body, **extra, "stream": stream}

    async def one(self, session: aiohttp.ClientSession) -> Outcome:
        """One request, to its end."""
        outcome = Outcome(time.monotonic() - self.started, next(self._bodies))
        self.outcomes.append(outcome)
        began = time.monotonic()
        try:
            async with session.post(f"{self.url}/v1/chat/completions", json=outcome.body) as answer:
                outcome.status = answer.status
                outcome.expert = answer.headers.get("x-pointsman-expert", "")
                text = await answer.text()
            outcome.verdict, outcome.answers = _judged(outcome, text)
            outcome.told = "" if outcome.verdict == "whole" else text[-300:]
        except (aiohttp.ClientError, TimeoutError, OSError):
            outcome.verdict = "cut"
        outcome.seconds = time.monotonic() - began
        if outcome.verdict in ("whole", "error") and outcome.seconds > self.deadline_s + 2:
            outcome.verdict = "late"
        return outcome

    async def at(self, rate: float, seconds: float, session: aiohttp.ClientSession) -> None:
        """Open loop: so many requests a second begin, whether or not earlier ones have ended."""
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            while time.monotonic() < until:
                group.create_task(self.one(session))
                await asyncio.sleep(random.expovariate(rate))

    async def flat_out(
        self, clients: int, seconds: float, session: aiohttp.ClientSession
    ) -> list[Outcome]:
        """Closed loop: so many clients without a pause."""
        until = time.monotonic() + seconds

        async def client() -> list[Outcome]:
            done = []
            while time.monotonic() < until:
                done.append(await self.one(session))
            return done

        gathered = await asyncio.gather(*(client() for _ in range(clients)))
        return [outcome for outcomes in gathered for outcome in outcomes]


def session() -> aiohttp.ClientSession:
    """Without limits of its own."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=180)
    )


def percentile(values: Sequence[float], share: float) -> float:
    """Of sorted or unsorted values; nan of none."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))] if ranked else float("nan")


def _judged(outcome: Outcome, text: str) -> tuple[str, int]:
    """Verdict and number of answers."""
    denied = outcome.body["routing"].get("deny", [])
    if outcome.expert in denied:
        return "answered by an excluded expert", 1
    if outcome.status != 200:
        return ("error" if _in_form(text) else f"malformed {outcome.status}"), 0
    if not outcome.body["stream"]:
        try:
            return "whole", len(json.loads(text)["choices"])
        except (ValueError, KeyError):
            return "malformed answer", 0
    events = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    if not events or events[-1] != "[DONE]":
        return "cut", 0
    if any('"error"' in event for event in events):
        return ("error" if any(_in_form(event) for event in events) else "malformed event"), 0
    ends = sum('"finish_reason":"' in event for event in events)
    return ("whole" if ends == 1 else f"{ends} ends"), ends


def _in_form(text: str) -> bool:
    try:
        return set(json.loads(text)["error"]) == {"message", "type", "param", "code"}
    except (ValueError, KeyError, TypeError):
        return False
