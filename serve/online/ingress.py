"""The HTTP ingress, which is also the router: what answers its endpoints, and what a replica holds.

Their paths: endpoints.py. Where a request is read, decided, dispatched and billed: gateway.py.
Where another router is taken: reconfigure.
"""

import asyncio
import contextlib
import logging
import time
from typing import Any

from fastapi import Request
from ray import serve
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle
from starlette.responses import JSONResponse, Response

from serve import keys
from serve.config import RolloutSettings, Settings, parse
from serve.errors import ExpertUnavailable, UnknownModel
from serve.online.access import Access
from serve.online.apis.chat import Chat, ChatRequest
from serve.online.apis.completions import CompletionBody, Completions
from serve.online.apis.messages import CountTokensRequest, Messages, MessagesRequest
from serve.online.apis.plain import (
    DetokenizeRequest,
    EmbeddingCompletionRequest,
    Plain,
    TokenizeBody,
)
from serve.online.apis.responses import Responses, ResponsesRequest
from serve.online.batching import BatchedRouter
from serve.online.body import FeedbackRequest, RouteRequest
from serve.online.books import Books
from serve.online.fleet import Fleet
from serve.online.gateway import Gateway
from serve.online.ledger import Ledger, shared_counters
from serve.online.live import Live, together
from serve.online.metering import AccessTelemetry, AnswerTelemetry
from serve.online.node_metrics import node_metrics
from serve.online.readiness import Readiness
from serve.online.record import decision_record
from serve.online.records import Records
from serve.online.router import load_pool, load_rollout
from serve.online.stages import Stages
from serve.online.telemetry import Telemetry
from serve.online.tracing import tracer
from serve.online.upstreams.base import Upstream
from serve.online.upstreams.local import LocalExpert
from serve.online.upstreams.remote import RemoteExpert
from serve.protocol import AUTO
from serve.settings_file import INGRESS

logger = logging.getLogger("ray.serve")

READY_TIMEOUT_S = 5.0
CHAT, COMPLETIONS, RESPONSES, MESSAGES = Chat(), Completions(), Responses(), Messages()


class RouterIngress:
    """One ingress replica: the router model in it, a way to every expert.

    Args:
        handles: expert id -> handle, of the experts that run here.
        settings: the whole application's.
    """

    def __init__(self, handles: dict[str, DeploymentHandle], settings: Settings) -> None:
        self._settings = settings
        self._replica = serve.get_replica_context().replica_id.unique_id
        self._tracer = tracer(settings.tracing, self._replica)
        self._telemetry = Telemetry(self._replica)
        self._records = Records(settings.records, self._telemetry)
        self._pool = load_pool(settings)
        rollout = load_rollout(settings, RolloutSettings(), self._pool)
        self._router = BatchedRouter(rollout, settings.router.batch, self._telemetry)
        self._telemetry.serving(rollout.champion.router)
        self._local = {
            expert.id: LocalExpert(handles[expert.id], sleeps=expert.autoscaling.min_replicas == 0)
            for expert in settings.experts
            if expert.id in handles
        }
        upstreams: dict[str, Upstream] = {**self._local}
        for expert in settings.experts:
            if expert.remote is not None:
                upstreams[expert.id] = RemoteExpert(expert)
        self._upstreams = upstreams
        fleet = Fleet(settings.experts, upstreams, settings.limits, self._telemetry)
        self._fleet = fleet
        counted = AccessTelemetry()
        door = Access(keys.load(settings), counted)
        if door.open:
            logger.warning(keys.OPEN)
        application = serve.get_replica_context().app_name
        self._ledger = Ledger(shared_counters(settings.access, application), counted)
        self._live = Live([expert.id for expert in self._pool.experts])
        self._answered = AnswerTelemetry(self._replica)
        self._books = Books(
            self._ledger,
            self._records,
            self._live,
            fleet,
            self._router,
            self._answered,
            self._telemetry,
            self._tracer,
        )
        self._gateway = Gateway(
            settings,
            self._pool.experts,
            self._router,
            fleet,
            door,
            self._ledger,
            self._books,
            self._telemetry,
        )
        self._plain = Plain(
            settings.experts, upstreams, self._gateway.enter, settings.limits.timeout_s
        )
        self._refusal: str | None = None
        self._started = int(time.time())
        self._readiness = Readiness(upstreams, self._local)

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Serve's call with a new user_config: other artifacts from the next batch on.

        What cannot be served is refused and said in /v1/router, and the old router goes on: were
        this to raise, Serve would stop the replica.
        """
        try:
            rollout = parse(RolloutSettings, user_config, "user_config")
            loaded = await asyncio.to_thread(load_rollout, self._settings, rollout, self._pool)
        except Exception as error:
            self._refusal = str(error)
            self._telemetry.refused()
            logger.error(f"The router goes on as it was: {error}")
            return
        self._refusal = None
        self._router.exchange(loaded)
        self._telemetry.serving(loaded.champion.router)

    async def __del__(self) -> None:
        """Serve's call when the replica stops: what was traced last is sent before."""
        await asyncio.to_thread(self._tracer.close)

    async def chat(self, body: ChatRequest, request: Request) -> Response:
        """OpenAI's chat completions; `auto` is routed, an expert's id goes to it."""
        return await self._gateway.answer(CHAT, body, request)

    async def completions(self, body: CompletionBody, request: Request) -> Response:
        """OpenAI's completions; `auto` is routed, an expert's id goes to it."""
        return await self._gateway.answer(COMPLETIONS, body, request)

    async def responses(self, body: ResponsesRequest, request: Request) -> Response:
        """OpenAI's responses, without the state that they keep between requests."""
        return await self._gateway.answer(RESPONSES, body, request)

    async def messages(self, body: MessagesRequest, request: Request) -> Response:
        """Anthropic's messages."""
        return await self._gateway.answer(MESSAGES, body, request)

    async def count_tokens(self, body: CountTokensRequest, request: Request) -> Response:
        """How long the prompt of such a message is."""
        return await self._plain.tokens("count_tokens", body, request)

    async def embeddings(self, body: EmbeddingCompletionRequest, request: Request) -> Response:
        """OpenAI's embeddings, of an expert that makes them."""
        return await self._plain.embeddings(body, request)

    async def tokenize(self, body: TokenizeBody, request: Request) -> Response:
        """Text or a chat -> an expert's token ids."""
        return await self._plain.tokens("tokenize", body, request)

    async def detokenize(self, body: DetokenizeRequest, request: Request) -> Response:
        """An expert's token ids -> text."""
        return await self._plain.tokens("detokenize", body, request)

    async def route(self, body: RouteRequest, request: Request) -> JSONResponse:
        """The decision alone: every expert with every term of its rank."""
        api, asked = body.asked(CHAT, COMPLETIONS)
        read = self._gateway.read(api, asked, request)
        ruling, seconds = await self._gateway.decide(read.query, "", Stages())
        decision = ruling.champion
        pick = decision.pick.expert if decision.open else None
        answer = {"pick": pick, "decision_ms": round(seconds * 1000, 3)}
        return JSONResponse(answer | decision_record(decision))

    async def feedback(self, body: FeedbackRequest, request: Request) -> JSONResponse:
        """Keeps what the answer of one request was worth, once."""
        self._gateway.caller(request)
        expert = await self._records.score(body.request_id, body.score)
        self._answered.measured(expert, body.score)
        return JSONResponse({"request_id": body.request_id, "score": body.score})

    async def usage(self, request: Request, days: int = 30) -> JSONResponse:
        """What keys took, a row a day, key and expert: every key's for an admin, else its own."""
        caller = self._gateway.caller(request)
        rows = await self._ledger.usage(days, None if caller.admin else caller.name)
        return JSONResponse({"object": "list", "data": rows})

    async def router(self, request: Request) -> JSONResponse:
        """Which artifact each replica serves, and what it refused."""
        self._gateway.admin(request)
        return JSONResponse({"replicas": await self._all_say("serving")})

    async def live(self, request: Request) -> JSONResponse:
        """What all replicas did since they started, and the deferral curve of their traffic."""
        self._gateway.admin(request)
        return JSONResponse(together(await self._all_say("figures")))

    async def figures(self) -> dict[str, Any]:
        """This replica's part of /v1/live."""
        return self._live.figures(self._router.rollout.champion, self._fleet.depths())

    async def _all_say(self, method: str) -> list[Any]:
        """What each ingress replica answers to a method.

        Raises:
            ExpertUnavailable: none does.
        """
        handle = serve.get_deployment_handle(INGRESS)
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                while True:
                    # While it takes a new user_config a replica is on nobody's list, for a moment.
                    with contextlib.suppress(DeploymentUnavailableError):
                        return list(await handle.broadcast(method).results_async())
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

    async def models(self, request: Request) -> JSONResponse:
        """auto, its preferences, and every expert."""
        self._gateway.caller(request)
        return JSONResponse(
            {"object": "list", "data": [self._card(name) for name in self._names()]}
        )

    async def model_data(self, model: str, request: Request) -> JSONResponse:
        """One of them."""
        self._gateway.caller(request)
        if model not in self._names():
            names = ", ".join(self._names())
            raise UnknownModel(
                f"The model {model!r} does not exist. Models: {names}", param="model"
            )
        return JSONResponse(self._card(model))

    async def health(self) -> JSONResponse:
        """Liveness: this process answers."""
        return JSONResponse({"status": "ok"})

    async def ready(self) -> JSONResponse:
        """Readiness: 200 once every expert that runs here has answered, and the router is loaded.

        One that runs elsewhere is told and not waited for: without it the others still serve.
        """
        state = await self._readiness.state()
        ready = all(state[name] for name in self._local)
        body: dict[str, Any] = {"ready": ready, "router": self._router.rollout.champion.router}
        body["experts"] = state
        return JSONResponse(body, status_code=200 if ready else 503)

    async def metrics(self, request: Request) -> Response:
        """Prometheus text of this node: pointsman's, Serve's and vLLM's."""
        self._gateway.admin(request)
        return Response(await node_metrics(), media_type="text/plain; version=0.0.4")

    async def check_health(self) -> None:
        """Serve's call, every few seconds and once before the first request."""
        self._books.publish()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Ray's call: what its policy is told of this replica (scaling.py)."""
        return {"decisions_per_s": self._gateway.decisions.per_s()}

    def _names(self) -> list[str]:
        preferences = (f"{AUTO}:{name}" for name in self._settings.router.preferences)
        return [AUTO, *preferences, *self._upstreams]

    def _card(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._started, "owned_by": "pointsman"}
