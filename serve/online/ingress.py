"""The HTTP ingress, which is also the router: decide, then dispatch to an expert's handle.

    chat, completions   POST /v1/chat/completions, /v1/completions
    route               POST /v1/route: the decision alone
    models, model_data  GET /v1/models, /v1/models/{model}
    health, ready       GET /health, /ready
    metrics             GET /metrics

Where a request is decided: _decide. Where it is dispatched: _answer.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, NamedTuple

import ray.exceptions
from fastapi import FastAPI, Request
from ray.serve.handle import DeploymentHandle
from ray.serve.llm.ingress import OpenAiIngress
from ray.serve.llm.openai_api_models import ChatCompletionRequest, CompletionRequest
from starlette.responses import JSONResponse, Response

from serve.config import Settings
from serve.errors import ExpertUnavailable, RequestError, UnknownModel
from serve.online.batching import BatchedRouter
from serve.online.body import (
    RouteRequest,
    fill_defaults,
    read_chat,
    read_completion,
    read_route,
)
from serve.online.node_metrics import node_metrics
from serve.online.router import load_pipeline
from serve.online.serve_llm import ErrorResponse, ModelCard, OpenAIHTTPException
from serve.online.surface import error_from_engine
from serve.online.telemetry import (
    HEADER_DECISION_MS,
    HEADER_EXPERT,
    HEADER_ROUTER,
    Telemetry,
)
from serve.protocol import AUTO, Decision, Query

READY_TIMEOUT_S = 5.0

ENDPOINTS: dict[str, Callable[[FastAPI], Any]] = {
    "chat": lambda app: app.post("/v1/chat/completions"),
    "completions": lambda app: app.post("/v1/completions"),
    "route": lambda app: app.post("/v1/route"),
    "models": lambda app: app.get("/v1/models"),
    "model_data": lambda app: app.get("/v1/models/{model:path}"),
    "health": lambda app: app.get("/health"),
    "ready": lambda app: app.get("/ready"),
    "metrics": lambda app: app.get("/metrics"),
}


class Routed(NamedTuple):
    """A decision and what it took, in seconds, from the parsed request on."""

    decision: Decision
    seconds: float


class RouterIngress(OpenAiIngress):  # type: ignore[misc]
    """One ingress replica: the router model in it, a handle to every expert.

    Args:
        llm_deployments: expert id -> handle.
        model_cards: expert id -> card.
        settings: the whole application's.
    """

    def __init__(
        self,
        llm_deployments: dict[str, DeploymentHandle],
        model_cards: dict[str, ModelCard],
        settings: Settings,
    ) -> None:
        super().__init__(llm_deployments, model_cards)
        self._experts = {expert.id: expert for expert in settings.experts}
        self._telemetry = Telemetry()
        self._pipeline = load_pipeline(settings)
        self._router = BatchedRouter(self._pipeline, settings.router.batch, self._telemetry)
        self._started = int(time.time())
        self._warm: set[str] = set()

    async def chat(self, body: ChatCompletionRequest, request: Request) -> Response:
        """OpenAI's chat completions; `auto` is routed, an expert's id goes to it."""
        return await self._answer(body, "chat", read_chat(body), request)

    async def completions(self, body: CompletionRequest, request: Request) -> Response:
        """OpenAI's completions; `auto` is routed, an expert's id goes to it."""
        return await self._answer(body, "completions", read_completion(body), request)

    async def route(self, body: RouteRequest) -> JSONResponse:
        """The decision alone: every expert with predicted quality, cost and utility."""
        routed = await self._decide(read_route(body))
        decision = routed.decision
        return JSONResponse(
            {
                "pick": decision.pick.expert,
                "router": decision.router,
                "objective": decision.objective,
                "guarded": decision.guarded,
                "novelty": decision.novelty,
                "decision_ms": round(routed.seconds * 1000, 3),
                "experts": [
                    {
                        "id": candidate.expert,
                        "quality": candidate.quality,
                        "cost_usd": candidate.cost_usd,
                        "utility": candidate.utility,
                    }
                    for candidate in decision.candidates
                ],
            }
        )

    async def models(self) -> JSONResponse:
        """auto and every expert."""
        return JSONResponse(
            {"object": "list", "data": [self._card(name) for name in self._names()]}
        )

    async def model_data(self, model: str) -> JSONResponse:
        """One of them."""
        if model not in self._names():
            raise self._unknown(model)
        return JSONResponse(self._card(model))

    async def health(self) -> JSONResponse:
        """Liveness: this process answers."""
        return JSONResponse({"status": "ok"})

    async def ready(self) -> JSONResponse:
        """Readiness: 200 once every expert answers; the router did before this replica was up."""
        answers = await asyncio.gather(*(self._answers(name) for name in self._experts))
        state = dict(zip(self._experts, answers, strict=True))
        body = {"ready": all(answers), "router": self._pipeline.router, "experts": state}
        return JSONResponse(body, status_code=200 if all(answers) else 503)

    async def metrics(self) -> Response:
        """Prometheus text of this node: pointsman's, Serve's and vLLM's."""
        return Response(await node_metrics(), media_type="text/plain; version=0.0.4")

    async def _decide(self, query: Query) -> Routed:
        started = time.perf_counter()
        decision = await self._router.decide(query)
        seconds = time.perf_counter() - started
        self._telemetry.decided(seconds)
        return Routed(decision, seconds)

    async def _answer(
        self,
        body: ChatCompletionRequest | CompletionRequest,
        method: str,
        query: Query,
        request: Request,
    ) -> Response:
        headers: dict[str, str] = {}
        if body.model in (None, AUTO):
            routed = await self._decide(query)
            body.model = routed.decision.pick.expert
            headers[HEADER_ROUTER] = routed.decision.router
            headers[HEADER_DECISION_MS] = f"{routed.seconds * 1000:.2f}"
        expert = self._experts.get(body.model)
        if expert is None:
            raise self._unknown(body.model)
        headers[HEADER_EXPERT] = expert.id
        self._telemetry.dispatched(expert.id, by_router=HEADER_ROUTER in headers)
        if method == "chat":
            fill_defaults(body, expert)
        response = await self._dispatch(body, method, request)
        response.headers.update(headers)
        return response

    async def _dispatch(self, body: Any, method: str, request: Request) -> Response:
        """Ray Serve LLM's own call of the expert's handle, its failures in our error tree."""
        try:
            response: Response = await self._process_llm_request(body, method, raw_request=request)
            return response
        except (RequestError, OpenAIHTTPException):
            raise
        except ray.exceptions.RayError as error:
            raise ExpertUnavailable(f"Expert {body.model} failed: {_cause(error)}") from error

    async def _get_response(self, **call: Any) -> AsyncGenerator[Any, None]:
        """The parent's stream of chunks; vLLM's refusals keep the field that they name."""
        first = True
        async for item in super()._get_response(**call):
            refusal = item if isinstance(item, ErrorResponse) else _refusal(item) if first else None
            if refusal is not None:
                raise error_from_engine(refusal.error, call["body"])
            first = False
            yield item

    async def _answers(self, expert: str) -> bool:
        """Whether an expert gave its first token once, and is healthy now."""
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await self._default_serve_handles[expert].check_health.remote()
            if expert not in self._warm:
                # An engine's first answer is slow: no client should be the one to wait for it.
                first = CompletionRequest(model=expert, prompt="Hello", max_tokens=1)
                async for _ in super()._get_response(body=first, call_method="completions"):
                    self._warm.add(expert)
        except (TimeoutError, ray.exceptions.RayError):
            return False
        return expert in self._warm

    def _names(self) -> list[str]:
        return [AUTO, *self._experts]

    def _card(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._started, "owned_by": "pointsman"}

    def _unknown(self, model: str | None) -> UnknownModel:
        names = ", ".join(self._names())
        return UnknownModel(f"The model {model!r} does not exist. Models: {names}", param="model")


def _refusal(first: Any) -> ErrorResponse | None:
    """A stream that starts with an error event was refused: its status can still say so."""
    event = first[0] if isinstance(first, list) else first
    if isinstance(event, str) and event.startswith('data: {"error"'):
        return ErrorResponse.model_validate_json(event.removeprefix("data: "))
    return None


def _cause(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1]
