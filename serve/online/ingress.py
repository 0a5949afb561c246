"""The HTTP ingress, which is also the router: decide, then dispatch to an expert's handle.

    chat, completions   POST /v1/chat/completions, /v1/completions
    route               POST /v1/route: the decision alone
    feedback            POST /v1/feedback: what an answer was worth
    router              GET /v1/router: which artifact each replica serves
    models, model_data  GET /v1/models, /v1/models/{model}
    health, ready       GET /health, /ready
    metrics             GET /metrics

Where a request is decided: _decide. Where it is dispatched: _answer. Where another router is taken:
reconfigure.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, NamedTuple

import ray.exceptions
from fastapi import FastAPI, Request
from ray import serve
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from ray.serve.llm.ingress import OpenAiIngress
from ray.serve.llm.openai_api_models import ChatCompletionRequest, CompletionRequest
from starlette.responses import JSONResponse, Response

from serve.config import RolloutSettings, Settings, parse
from serve.errors import ExpertUnavailable, RequestError, UnknownModel
from serve.online.batching import BatchedRouter
from serve.online.body import (
    FeedbackRequest,
    RouteRequest,
    fill_defaults,
    read_chat,
    read_completion,
    read_route,
)
from serve.online.node_metrics import node_metrics
from serve.online.records import Records, decision_record
from serve.online.router import load_encoder, load_rollout
from serve.online.serve_llm import ErrorResponse, ModelCard, OpenAIHTTPException
from serve.online.surface import error_from_engine
from serve.online.telemetry import (
    HEADER_DECISION_MS,
    HEADER_EXPERT,
    HEADER_REQUEST,
    HEADER_ROUTER,
    Telemetry,
)
from serve.protocol import AUTO, Query
from serve.routing.rollout import Ruling, ticket
from serve.settings_file import INGRESS

logger = logging.getLogger("ray.serve")

READY_TIMEOUT_S = 5.0

ENDPOINTS: dict[str, Callable[[FastAPI], Any]] = {
    "chat": lambda app: app.post("/v1/chat/completions"),
    "completions": lambda app: app.post("/v1/completions"),
    "route": lambda app: app.post("/v1/route"),
    "feedback": lambda app: app.post("/v1/feedback"),
    "router": lambda app: app.get("/v1/router"),
    "models": lambda app: app.get("/v1/models"),
    "model_data": lambda app: app.get("/v1/models/{model:path}"),
    "health": lambda app: app.get("/health"),
    "ready": lambda app: app.get("/ready"),
    "metrics": lambda app: app.get("/metrics"),
}


class Routed(NamedTuple):
    """A ruling and what it took, in seconds, from the parsed request on."""

    ruling: Ruling
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
        self._settings = settings
        self._replica = serve.get_replica_context().replica_id.unique_id
        self._telemetry = Telemetry(self._replica)
        self._records = Records(settings.records, self._telemetry)
        self._encoder = load_encoder(settings)
        rollout = load_rollout(settings, RolloutSettings(), self._encoder)
        self._router = BatchedRouter(rollout, settings.router.batch, self._telemetry)
        self._telemetry.serving(rollout.champion.router)
        self._refusal: str | None = None
        self._started = int(time.time())
        self._warm: set[str] = set()

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Serve's call with a new user_config: other artifacts from the next batch on.

        What cannot be served is refused and said in /v1/router, and the old router goes on: were
        this to raise, Serve would stop the replica.
        """
        try:
            rollout = parse(RolloutSettings, user_config, "user_config")
            loaded = await asyncio.to_thread(load_rollout, self._settings, rollout, self._encoder)
        except Exception as error:
            self._refusal = str(error)
            self._telemetry.refused()
            logger.error(f"The router goes on as it was: {error}")
            return
        self._refusal = None
        self._router.exchange(loaded)
        self._telemetry.serving(loaded.champion.router)

    async def chat(self, body: ChatCompletionRequest, request: Request) -> Response:
        """OpenAI's chat completions; `auto` is routed, an expert's id goes to it."""
        return await self._answer(body, "chat", read_chat(body), request)

    async def completions(self, body: CompletionRequest, request: Request) -> Response:
        """OpenAI's completions; `auto` is routed, an expert's id goes to it."""
        return await self._answer(body, "completions", read_completion(body), request)

    async def route(self, body: RouteRequest) -> JSONResponse:
        """The decision alone: every expert with predicted quality, cost and utility."""
        routed = await self._decide(read_route(body), "")
        decision = routed.ruling.champion
        answer = {"pick": decision.pick.expert, "decision_ms": round(routed.seconds * 1000, 3)}
        return JSONResponse(answer | decision_record(decision))

    async def feedback(self, body: FeedbackRequest) -> JSONResponse:
        """Keeps what the answer of one request was worth, once."""
        await self._records.score(body.request_id, body.score)
        return JSONResponse({"request_id": body.request_id, "score": body.score})

    async def router(self) -> JSONResponse:
        """Which artifact each replica serves, and what it refused."""
        handle = serve.get_deployment_handle(INGRESS)
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                while True:
                    # While it takes a new user_config a replica is on nobody's list, for a moment.
                    with contextlib.suppress(DeploymentUnavailableError):
                        replicas = await handle.broadcast("serving").results_async()
                        return JSONResponse({"replicas": replicas})
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise ExpertUnavailable("No replica answers yet", code="router_unavailable") from None

    async def serving(self) -> dict[str, Any]:
        """This replica's line of /v1/router."""
        rollout = self._router.rollout
        return {
            "replica": self._replica,
            "router": rollout.champion.router,
            "challenger": rollout.challenger and rollout.challenger.router,
            "refused": self._refusal,
        }

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
        body: dict[str, Any] = {
            "ready": all(answers),
            "router": self._router.rollout.champion.router,
        }
        body["experts"] = state
        return JSONResponse(body, status_code=200 if all(answers) else 503)

    async def metrics(self) -> Response:
        """Prometheus text of this node: pointsman's, Serve's and vLLM's."""
        return Response(await node_metrics(), media_type="text/plain; version=0.0.4")

    async def _decide(self, query: Query, request_id: str) -> Routed:
        started = time.perf_counter()
        ruling = await self._router.decide(query, ticket(request_id))
        seconds = time.perf_counter() - started
        self._telemetry.decided(seconds)
        return Routed(ruling, seconds)

    async def _answer(
        self,
        body: ChatCompletionRequest | CompletionRequest,
        method: str,
        query: Query,
        request: Request,
    ) -> Response:
        headers: dict[str, str] = {}
        request_id = request.headers[HEADER_REQUEST]
        ruling = None
        if body.model in (None, AUTO):
            routed = await self._decide(query, request_id)
            ruling = routed.ruling
            body.model = ruling.acting.pick.expert
            headers[HEADER_ROUTER] = ruling.acting.router
            headers[HEADER_DECISION_MS] = f"{routed.seconds * 1000:.2f}"
        expert = self._experts.get(body.model)
        if expert is None:
            raise self._unknown(body.model)
        headers[HEADER_EXPERT] = expert.id
        self._telemetry.dispatched(expert.id, by_router=ruling is not None)
        self._records.dispatched(request_id, body, query, expert.id, ruling)
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
