"""A fake pointsman behind the real console: scripted decisions, streams and live numbers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from serve.errors import (
    ExpertUnavailable,
    Forbidden,
    NotConfigured,
    RepeatedFeedback,
    Unauthorized,
)
from serve.online.surface import surface
from tests.listening import listening

WORDS = ["The", " <b>Danube</b>", " flows", " through", " Vienna", "."]
QUESTION, ANSWER = "Which river flows through Vienna?", "".join(WORDS)
ADMIN, USER = "admin-key", "user-key"
EXPERTS = {"small": (0.46, 1.0e-6), "large": (0.58, 2.4e-6), "asleep": (0.6, 9.0e-6)}
"""Predicted quality, dollars an answer; `asleep` is always barred, `small` the best single."""
SET = 0.4
"""The tradeoff that the settings' objective amounts to."""
TURNS = 0.5
"""The tradeoff up to which `large` is picked."""


class FakePointsman:
    """What the page asks, as the real one answers it; a test turns the attributes.

    Attributes:
        keys: whether a key is asked for.
        feedback: whether feedback is kept; `scores` has it by request id.
        go_on: while it is not set, a stream stops after its second word.
        tradeoff: of the settings' objective; None: it is none.
        routed: requests that were routed: before the first the traffic has no curve.
        bodies: of chats, as they came.
        left: set once the client of a stream went before its end.
    """

    def __init__(self) -> None:
        self.url = ""
        self.keys = False
        self.feedback = True
        self.scores: dict[str, float] = {}
        self.go_on = threading.Event()
        self.go_on.set()
        self.tradeoff: float | None = SET
        self.routed = 0
        self.bodies: list[dict[str, Any]] = []
        self.left = threading.Event()
        self.lives = 0
        self.app = surface()
        self.app.get("/v1/models")(self.models)
        self.app.get("/v1/live")(self.live)
        self.app.post("/v1/route")(self.route)
        self.app.post("/v1/chat/completions")(self.chat)
        self.app.post("/v1/feedback")(self.rate)

    async def models(self, request: Request) -> dict[str, Any]:
        self._key(request)
        return {
            "object": "list",
            "data": [{"id": name} for name in ["auto", "auto:cheap", *EXPERTS]],
        }

    async def live(self, request: Request) -> dict[str, Any]:
        if self._key(request) not in ("", ADMIN):
            raise Forbidden("The key user is not an admin's (access.keys[].admin)")
        self.lives += 1
        points = [_point(step / 20) for step in range(21)] if self.routed else []
        return {
            "replicas": 1,
            "router": "default@fake",
            "guard_active": False,
            "ood_ratio": 0.02,
            "requests": self.routed,
            "cost_usd": 1.2e-6 * self.routed,
            "saved_usd": {"best_single": -2.0e-7 * self.routed, "priciest": 7.8e-6 * self.routed},
            "best_single": "small",
            "tradeoff": self.tradeoff,
            "priciest": "asleep",
            "experts": [
                {
                    "id": name,
                    "requests": self.routed if name == "small" else 0,
                    "share": float(name == "small"),
                    "cost_usd": 1.2e-6 * self.routed if name == "small" else 0.0,
                    "output_tokens": len(WORDS) * self.routed if name == "small" else 0,
                    "queue_depth": 0,
                }
                for name in EXPERTS
            ],
            "curve": {"requests": self.routed, "points": points},
        }

    async def route(self, request: Request) -> dict[str, Any]:
        self._key(request)
        body = await request.json()
        decision = _decision(body)
        return {"pick": decision["experts"][0]["id"], "decision_ms": 3.125} | decision

    async def chat(self, request: Request) -> Response:
        self._key(request)
        body = await request.json()
        self.bodies.append(body)
        asked = body["messages"][-1]["content"]
        if "fail" in asked:
            raise ExpertUnavailable("No expert answers", code="expert_failed")
        routed = body["model"].startswith("auto")
        expert = _decision(body)["experts"][0]["id"] if routed else body["model"]
        headers = {"x-request-id": f"request-{len(self.bodies)}", "x-pointsman-expert": expert}
        if routed:
            self.routed += 1
            headers |= {"x-pointsman-router": "default@fake", "x-pointsman-decision-ms": "3.12"}
        stream = self._stream(request, body, "break" in asked)
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    async def _stream(self, request: Request, body: dict, breaks: bool) -> AsyncIterator[str]:
        try:
            for number, word in enumerate(WORDS):
                event: dict[str, Any] = {"choices": [{"index": 0, "delta": {"content": word}}]}
                if number == 0 and body["routing"].get("explain") and body["model"] == "auto":
                    event["routing"] = _decision(body)
                yield _data(event)
                while number == 1 and not self.go_on.is_set():
                    await asyncio.sleep(0.01)
                if number == 2 and breaks:
                    yield _data({"error": {"message": "The expert went away", "code": None}})
                    break
            else:
                yield _data({"choices": [], "usage": _usage(len(WORDS))})
            yield "data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.left.set()
            raise

    async def rate(self, request: Request) -> JSONResponse:
        self._key(request)
        body = await request.json()
        if not self.feedback:
            raise NotConfigured("Feedback needs records.database")
        if body["request_id"] in self.scores:
            raise RepeatedFeedback("This request has its feedback already")
        self.scores[body["request_id"]] = body["score"]
        return JSONResponse(body)

    def _key(self, request: Request) -> str:
        """The key that came; "": none is asked for."""
        if not self.keys:
            return ""
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        if key not in (ADMIN, USER):
            raise Unauthorized("No API key. Send it as Authorization: Bearer KEY, or as x-api-key.")
        return key


def _decision(body: dict[str, Any]) -> dict[str, Any]:
    tradeoff = body["routing"].get("tradeoff", SET)
    order = ["large", "small"] if tradeoff <= TURNS else ["small", "large"]
    return {
        "router": "default@fake",
        "objective": "quality - 1000 * cost_usd",
        "guarded": False,
        "novelty": 0.42,
        "experts": [
            {
                "id": name,
                "quality": EXPERTS[name][0],
                "cost_usd": EXPERTS[name][1],
                "utility": EXPERTS[name][0],
                "input_tokens": 12,
                "output_tokens": 40.0,
                "seconds": 0.4 + rank,
                "switch_usd": 0.0,
                "wake_s": 0.0,
                "barred": "has no replica that lives" if name == "asleep" else None,
            }
            for rank, name in enumerate([*order, "asleep"])
        ],
    }


def _point(tradeoff: float) -> dict[str, Any]:
    large = (1 - tradeoff) ** 2
    mean = [
        large * b + (1 - large) * a for a, b in zip(EXPERTS["small"], EXPERTS["large"], strict=True)
    ]
    return {
        "tradeoff": tradeoff,
        "quality": mean[0],
        "cost_usd": mean[1],
        "best_single_usd": EXPERTS["small"][1],
        "priciest_usd": EXPERTS["asleep"][1],
        "share": {"small": 1 - large, "large": large},
    }


def _usage(tokens: int) -> dict[str, Any]:
    costs = {"cost_usd": 1.2e-6, "cost_usd_priciest": 9e-6, "cost_usd_best_single": 1e-6}
    return {"prompt_tokens": 12, "completion_tokens": tokens} | costs


def _data(event: dict[str, Any]) -> str:
    return f"data: {json.dumps(event)}\n\n"


@contextmanager
def fake_pointsman() -> Iterator[FakePointsman]:
    """One that listens on a free port of the loopback until the block ends."""
    fake = FakePointsman()
    with listening(fake.app) as url:
        fake.url = url
        yield fake
