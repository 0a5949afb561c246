"""A fake OpenAI-compatible endpoint: what a model of it does is in its name, answers are hashes."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from tests.listening import listening

WORDS = (
    "the",
    "a",
    "river",
    "runs",
    "north",
    "over",
    "stone",
    "and",
    "sand",
    "until",
    "it",
    "meets",
)
GARBAGE = {
    "garbage-text": "data: this is not JSON\n\n",
    "garbage-list": "data: [1, 2]\n\n",
    "garbage-shape": 'data: {"choices": 17}\n\n',
    "garbage-delta": 'data: {"choices": [{"delta": {"content": {}, "x": 1}, "index": 0}]}\n\n',
    "garbage-error": 'data: {"error": {"message": "engine died"}}\n\n',
    "garbage-end": 'data: {"choices": [{"delta": {"content": "half an"}, "index": 0}]}\n\n',
    "garbage-usage": 'data: {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}], '
    '"usage": {"prompt_tokens": "many", "completion_tokens": 1}}\n\n',
}
"""Model -> all that its stream holds; `[DONE]` follows."""

ROUTED = {"x-pointsman-expert": "small", "x-pointsman-decision-ms": "12.5"}
"""Headers of model auto's answers, which cost COST_USD each."""

COST_USD = 2e-6


class FakeEndpoint:
    """Counts by (model, prompt): requests begun for an answer, and those for a likelihood."""

    def __init__(self) -> None:
        self.asked: Counter[tuple[str, str]] = Counter()
        self.likelihoods: Counter[tuple[str, str]] = Counter()
        self.under_way: Counter[str] = Counter()
        self.most_under_way: Counter[str] = Counter()
        self.url = ""
        self.app = FastAPI()
        self.app.post("/v1/chat/completions")(self.chat)

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        model = body["model"]
        if body.get("continue_final_message"):
            return self._likelihood(model, body)
        prompt = body["messages"][-1]["content"]
        self.asked[model, prompt] += 1
        self.under_way[model] += 1
        most = max(self.under_way[model], self.most_under_way[model])
        self.most_under_way[model] = most
        try:
            return await self._answer(model, prompt, body)
        finally:
            self.under_way[model] -= 1

    async def _answer(self, model: str, prompt: str, body: dict) -> Response:
        if model == "broken" or (model == "flaky" and self.asked[model, prompt] == 1):
            return _error(500, "engine died")
        if model == "hanging":
            await asyncio.sleep(3600)
        if model == "small" and len(prompt) > 40:
            return _error(400, f"maximum context length is 40, got {len(prompt)}")
        if model == "silent" and "logprobs" in body:
            return _error(400, "this model gives no logprobs")
        if model in GARBAGE:
            return _events([GARBAGE[model], "data: [DONE]\n\n"])
        pause = 0.02 if model.startswith("slow") else 0.0
        if pause:
            await asyncio.sleep(pause)
        text, in_tokens = answer(model, prompt), tokens(body["messages"])
        if model == "auto":
            return _events(_chunks(text, in_tokens, cost_usd=COST_USD), headers=ROUTED)
        return _events(_chunks(text, in_tokens, body.get("top_logprobs")), pause)

    def _likelihood(self, model: str, body: dict) -> Response:
        *asked, said = body["messages"]
        self.likelihoods[model, asked[-1]["content"]] += 1
        if model == "unlikely":
            return _error(400, "unknown field prompt_logprobs")
        prefix, reference = tokens(asked), len(said["content"].split())
        # The n-th token of the reference has log-likelihood -n, all before it -100.
        logprobs = [-100.0] * (prefix - 1) + [-1.0 - n for n in range(reference)]
        message = {"role": "assistant", "content": ""}
        return JSONResponse(
            {
                "choices": [{"index": 0, "message": message, "finish_reason": "length"}],
                "usage": {"prompt_tokens": prefix + reference, "completion_tokens": 1},
                "prompt_logprobs": [None, *({"5": {"logprob": x, "rank": 1}} for x in logprobs)],
            }
        )


def answer(model: str, prompt: str) -> str:
    """What a model says, greedily: a few words from a hash."""
    digest = hashlib.sha256(f"{model}\n{prompt}".encode()).digest()
    return " ".join(WORDS[byte % len(WORDS)] for byte in digest[: 3 + digest[0] % 6])


def tokens(messages: list[dict]) -> int:
    """A word is a token; every message begins with one more."""
    return sum(1 + len(message["content"].split()) for message in messages)


def _logprobs(token: str, number: int) -> dict:
    """The n-th token has log-probability -n; the one that it beats is 2 behind it."""
    top = [{"token": token, "logprob": -number}, {"token": "#", "logprob": -number - 2}]
    return {"content": [{"token": token, "logprob": -number, "top_logprobs": top}]}


def _chunks(
    text: str, in_tokens: int, top_logprobs: int | None = None, **more_usage: float
) -> list[str]:
    words = text.split()
    parts = [word if i == 0 else f" {word}" for i, word in enumerate(words)]
    events: list[dict] = [
        {"choices": [{"index": 0, "delta": {"content": part}, "finish_reason": None}]}
        for part in parts
    ]
    if top_logprobs is not None:
        for number, (event, part) in enumerate(zip(events, parts, strict=True), start=1):
            event["choices"][0]["logprobs"] = _logprobs(part, number)
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    usage = {"prompt_tokens": in_tokens, "completion_tokens": len(words), **more_usage}
    events.append({"choices": [], "usage": usage})
    return [f"data: {json.dumps(event)}\n\n" for event in events] + ["data: [DONE]\n\n"]


def _events(
    events: list[str], pause: float = 0.0, headers: dict[str, str] | None = None
) -> StreamingResponse:
    async def stream() -> AsyncIterator[str]:
        for event in events:
            await asyncio.sleep(pause)
            yield event

    return StreamingResponse(stream(), media_type="text/event-stream", headers=headers)


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "code": status}}, status_code=status)


@contextmanager
def fake_endpoint() -> Iterator[FakeEndpoint]:
    """One that listens on a free port of the loopback until the block ends."""
    fake = FakeEndpoint()
    with listening(fake.app) as url:
        fake.url = f"{url}/v1"
        yield fake
