"""The request path over HTTP without Ray: scripted experts, a real pipeline on a fake encoder."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from ray.serve.llm.openai_api_models import ChatCompletionRequest

from serve.config import KeySettings, Settings
from serve.keys import hashed
from serve.online.access import Access
from serve.online.apis.chat import Chat
from serve.online.books import Books
from serve.online.counters import in_memory
from serve.online.fleet import Fleet
from serve.online.gateway import Gateway
from serve.online.ledger import Ledger
from serve.online.live import Live
from serve.online.metering import AccessTelemetry, AnswerTelemetry
from serve.online.records import Records
from serve.online.stages import OWN
from serve.online.surface import surface
from serve.online.telemetry import Telemetry
from serve.online.tracing import UNTRACED
from serve.online.upstreams.base import ExpertFailed
from serve.protocol import Expert
from serve.routing.rollout import Rollout
from serve.terms import Abilities
from tests.conftest import FakeEncoder
from tests.online.test_dispatch import DONE, USAGE, FakeExpert, event
from tests.routing.test_pipeline import pipeline

CHAT = Chat()
POOL = [
    Expert("small", 1.0, 1.0, Abilities(context=500, tools=False)),
    Expert("large", 10.0, 10.0, Abilities(context=4000), local=False),
]
TOKEN = {"token": "a", "logprob": -0.5, "bytes": None, "top_logprobs": []}


def whole(text="hi", logprob=-0.1):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    choice["logprobs"] = {"content": [TOKEN | {"logprob": logprob}]}
    return {"choices": [choice], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}


class FakeRouter:
    """A Rollout without the batching that needs Ray Serve."""

    def __init__(self, rollout):
        self.rollout, self.broken = rollout, False

    async def decide(self, query, ticket, snapshot, stages):
        if self.broken:
            raise RuntimeError("no model")
        for stage in OWN:
            stages.lap(stage)
        return self.rollout.decide([query], [ticket], snapshot, stages.lap)[0]

    def blind(self, query, snapshot):
        return SimpleNamespace(acting=self.rollout.champion.blind(query, snapshot), challenger=None)


class Application:
    """A gateway behind FastAPI; `experts` are the scripts of small and large."""

    def __init__(
        self, small, large, keys=(), cascade=None, records=None, tracer=UNTRACED, **limits
    ):
        router = {} if cascade is None else {"cascade": cascade}
        self.settings = Settings.model_validate(
            {
                "experts": [{"id": e.id, "model": "m", "max_requests": 3} for e in POOL],
                "router": router,
                "limits": {"first_token_s": 0.3, **limits},
                "records": records or {},
            }
        )
        self.experts = {"small": FakeExpert(small), "large": FakeExpert(large)}
        telemetry, counted = Telemetry("test"), AccessTelemetry()
        fleet = Fleet(self.settings.experts, self.experts, self.settings.limits, telemetry)
        self.router = FakeRouter(Rollout(pipeline(FakeEncoder(), POOL)))
        self.ledger = Ledger(in_memory(), counted)
        self.live = Live([expert.id for expert in POOL])
        self.counted = AnswerTelemetry("test")
        records = Records(self.settings.records, telemetry)
        books = Books(
            self.ledger,
            records,
            self.live,
            fleet,
            self.router,
            self.counted,
            telemetry,
            tracer,
        )
        self.gateway = Gateway(
            self.settings,
            POOL,
            self.router,
            fleet,
            Access(list(keys), counted),
            self.ledger,
            books,
            telemetry,
        )
        app = surface()

        @app.post("/v1/chat/completions")
        async def chat(body: ChatCompletionRequest, request: Request):
            return await self.gateway.answer(CHAT, body, request)

        self.client = TestClient(app, client=("127.0.0.1", 1), raise_server_exceptions=False)
        self.client.__enter__()

    def ask(self, text="x", headers=None, **fields):
        body = {"messages": [{"role": "user", "content": text}], "model": "auto"} | fields
        return self.client.post(
            "/v1/chat/completions", json=body, headers={"x-request-id": "r"} | (headers or {})
        )


@pytest.fixture
def made():
    applications = []

    def make(small=None, large=None, **more):
        scripts = (small or [whole("small")], large or [whole("large")])
        applications.append(Application(*scripts, **more))
        return applications[-1]

    yield make
    for application in applications:
        application.client.__exit__(None, None, None)


def told(answer):
    return answer.headers["x-pointsman-expert"]


def test_an_answer_is_routed_billed_and_explained(made):
    answer = made().ask(routing={"explain": True, "tradeoff": 1.0})
    assert answer.status_code == 200 and told(answer) == "small"
    usage = answer.json()["usage"]
    assert usage["cost_usd"] == pytest.approx(15e-6)
    assert usage["cost_usd_priciest"] == pytest.approx(150e-6)
    rows = answer.json()["routing"]["experts"]
    assert {row["id"] for row in rows} == {"small", "large"}
    assert {"quality", "cost_usd", "seconds", "input_tokens", "barred"} <= set(rows[0])


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"routing": {"deny": ["small", "large"]}}, "routing.deny"),
        ({"routing": {"max_cost_usd": 0}}, "routing.max_cost_usd"),
        ({"max_tokens": 9999}, "max_tokens"),
        ({"max_completion_tokens": 9999}, "max_completion_tokens"),
        ({"text": "long " * 20_000}, "messages"),
        ({"model": "auto:best"}, "model"),
        ({"model": "nobody"}, "model"),
        ({"model": "large", "routing": {"private": True}}, "model"),
        ({"routing": {"what": 1}}, "routing.what"),
        ({"seed": 2**64}, "seed"),
        ({"stop_token_ids": [1, -(2**63) - 1]}, "stop_token_ids"),
    ],
)
def test_what_nobody_may_answer_names_its_limit(made, fields, param):
    application = made()
    answer = application.ask(**fields)
    assert answer.status_code in (400, 404), answer.text
    assert answer.json()["error"]["param"] == param
    assert [expert.asked for expert in application.experts.values()] == [0, 0]


def test_privacy_is_absolute(made):
    """Even where the only local expert is down, and where the client names the remote one."""
    application = made(small=[ExpertFailed("died", fatal=True)])
    for _ in range(3):
        assert application.ask(routing={"private": True}).status_code == 503
    assert application.ask(model="large", headers={"x-pointsman-private": "1"}).status_code == 400
    assert application.experts["large"].asked == 0


def test_the_cloud_gone_the_local_one_answers_and_says_so(made):
    application = made(large=[ExpertFailed("no route", fatal=True)])
    answers = [application.ask(routing={"tradeoff": 0}, text=f"q{i}") for i in range(10)]
    assert {told(answer) for answer in answers} == {"small"}
    fallbacks = [
        a.headers["x-pointsman-fallback"] for a in answers if "x-pointsman-fallback" in a.headers
    ]
    assert fallbacks == ["large: no route"]  # then the circuit is open


def test_a_stream_is_billed_only_in_what_was_asked_for(made):
    stream = [event("a"), USAGE, DONE]
    application = made(small=stream, large=stream)
    plain = application.ask(stream=True).text
    assert plain == event("a") + DONE
    asked = application.ask(stream=True, stream_options={"include_usage": True}).text
    assert json.loads(asked.split("data: ")[2])["usage"]["cost_usd"] > 0
    first = application.ask(stream=True, routing={"explain": True}).text.split("data: ")[1]
    assert json.loads(first)["routing"]["experts"]


def test_the_experts_means_decide_where_the_model_does_not(made):
    application = made()
    application.router.broken = True
    assert application.ask().status_code == 200


def key(name, **fields):
    return KeySettings(name=name, sha256=hashed(name.encode()), **fields)


def bearer(name):
    return {"authorization": f"Bearer {name}"}


def test_keys_open_and_limit_and_are_charged(made):
    keys = [
        key("one", requests_per_minute=2),
        key("narrow", allow=["small"]),
        key("private", private=True),
    ]
    application = made(keys=keys)
    assert application.ask().status_code == 401
    first, second, third = (application.ask(headers=bearer("one")) for _ in range(3))
    assert (first.status_code, second.status_code, third.status_code) == (200, 200, 429)
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert int(third.headers["retry-after"]) >= 1
    assert third.json()["error"]["code"] == "rate_limit_exceeded"
    for name in ("narrow", "private"):
        answers = [application.ask(f"q{i}", headers=bearer(name)) for i in range(8)]
        assert {told(answer) for answer in answers} == {"small"}
    assert application.ask(model="large", headers=bearer("narrow")).status_code == 403
    assert application.ask(model="large", headers=bearer("private")).status_code == 400
    rows = asyncio.run(application.ledger.usage(1))
    spent = {row["key"]: row["requests"] for row in rows if row["expert"] == "small"}
    assert spent["narrow"] == 8


def test_too_many_at_once_are_refused_and_leave_nothing_behind(made):
    application = made(max_requests=1)
    application.gateway._under_way = 1
    answer = application.ask()
    assert answer.status_code == 429 and answer.headers["retry-after"] == "1"
    application.gateway._under_way = 0
    for _ in range(3):
        assert application.ask().status_code == 200
        assert application.ask(stream=True, model="nobody").status_code == 404
    assert application.gateway._under_way == 0


def test_where_every_queue_is_full_nothing_is_spent_on_a_decision(made):
    application = made()

    async def fill():
        fleet = application.gateway._fleet
        return [fleet.enter(name) for name in ("small", "large") for _ in range(3)]

    leases = asyncio.run(fill())
    application.router.broken = True  # it would be asked, and fail
    application.router.blind = None
    answer = application.ask()
    assert answer.status_code == 429 and answer.json()["error"]["code"] == "overloaded"
    assert int(answer.headers["retry-after"]) >= 1
    application.gateway._fleet.left(leases[0])
    application.router.broken = False
    assert application.ask().status_code == 200


CASCADE = {"tiers": ["small", "large"], "signal": "mean_logprob", "thresholds": [-1.0]}


@pytest.mark.parametrize(("logprob", "expert"), [(-0.1, "small"), (-2.0, "large")])
def test_a_cascade_keeps_a_certain_answer_and_asks_on_for_another(made, logprob, expert):
    answer = made(small=[whole("small", logprob)], cascade=CASCADE).ask()
    assert told(answer) == expert
    assert answer.headers["x-pointsman-cascade"].startswith(f"small {logprob:.3f}")
    choice = answer.json()["choices"][0]
    assert choice["message"]["content"] == expert
    if expert == "small":
        assert choice["logprobs"] is None  # the client did not ask for them
    else:  # both tiers are paid
        assert answer.json()["usage"]["cost_usd"] == pytest.approx(15e-6 + 150e-6)


def test_a_cascade_holds_a_stream_until_it_is_certain(made):
    def told_by(logprob):
        choice = {"index": 0, "delta": {"content": "small"}}
        choice["logprobs"] = {"content": [TOKEN | {"logprob": logprob}]}
        head = f"data: {json.dumps({'choices': [choice]}, separators=(',', ':'))}\n\n"
        return [head, USAGE, DONE]

    kept = made(small=told_by(-0.1), large=[event("large"), USAGE, DONE], cascade=CASCADE)
    assert "small" in kept.ask(stream=True).text
    left = made(small=told_by(-3.0), large=[event("large"), USAGE, DONE], cascade=CASCADE)
    text = left.ask(stream=True).text
    assert "large" in text and "small" not in text
    assert left.experts["small"].closed == 1


def test_a_tier_that_fails_is_passed_by(made):
    answer = made(small=[ExpertFailed("died", fatal=True)], cascade=CASCADE).ask()
    assert told(answer) == "large" and "died" in answer.headers["x-pointsman-fallback"]


def test_a_request_with_a_preference_of_its_own_is_no_cascades(made):
    answer = made(cascade=CASCADE).ask(routing={"tradeoff": 0.0})
    assert "x-pointsman-cascade" not in answer.headers


def test_where_the_dear_tier_fails_the_uncertain_answer_is_better_than_none(made):
    application = made(
        small=[whole("small", -2.0)], large=[ExpertFailed("died", fatal=True)], cascade=CASCADE
    )
    answer = application.ask()
    assert answer.status_code == 200 and told(answer) == "small"
    assert "died" in answer.headers["x-pointsman-fallback"]


def test_a_stream_that_nobody_reads_leaves_nothing_behind(made):
    """The client goes between the first token and the first byte to it."""
    application = made(small=[event("a"), USAGE, DONE], large=[event("a"), USAGE, DONE])
    body = ChatCompletionRequest(messages=[{"role": "user", "content": "x"}], stream=True)

    async def gone():
        return {"type": "http.disconnect"}

    async def waiting():
        await asyncio.sleep(3600)

    async def send(message):
        await asyncio.sleep(3600)

    async def work():
        headers = [(b"x-request-id", b"r")]
        scope = {"type": "http", "client": ("127.0.0.1", 1), "headers": headers}
        response = await application.gateway.answer(CHAT, body, Request(scope, waiting))
        assert application.gateway._under_way == 1
        await response(scope | {"asgi": {"spec_version": "2.3"}}, gone, send)

    asyncio.run(work())
    asked = [expert for expert in application.experts.values() if expert.asked]
    assert [expert.closed for expert in asked] == [1]
    assert application.gateway._under_way == 0
    assert all(application.gateway._fleet[name].under_way == 0 for name in ("small", "large"))


def test_where_all_sleep_a_request_that_cannot_wait_is_told_when_and_the_next_is_answered(made):
    application = made()
    for expert in application.experts.values():
        expert.asleep = True
    answer = application.ask(routing={"max_latency_s": 5})
    assert answer.status_code == 503 and answer.headers["retry-after"] == "180"
    assert answer.json()["error"]["code"] == "expert_asleep"
    answer = application.ask(routing={"max_latency_s": 5})
    assert answer.status_code == 200


def test_an_expert_that_sleeps_is_explained(made):
    application = made()
    application.experts["large"].asleep = True
    answer = application.ask(routing={"explain": True}).json()
    told = {expert["id"]: expert["wake_s"] for expert in answer["routing"]["experts"]}
    assert told == {"small": 0.0, "large": 180.0}
