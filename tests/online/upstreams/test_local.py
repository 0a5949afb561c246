"""What an engine's items become; the handle is fake."""

from __future__ import annotations

import asyncio

import pytest
import ray.exceptions
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.llm.openai_api_models import ChatCompletionRequest
from starlette.requests import Request
from vllm.v1.engine.exceptions import EngineDeadError

from serve.errors import RequestError
from serve.online.apis.chat import Chat
from serve.online.serve_llm import ErrorInfo, ErrorResponse
from serve.online.upstreams import local
from serve.online.upstreams.base import Call, ExpertFailed
from serve.online.upstreams.local import LocalExpert

EVENT = 'data: {"choices":[]}\n\n'


def refusal(code):
    return ErrorResponse(error=ErrorInfo(message="max_tokens is wrong", type="x", code=code))


class FakeHandle:
    """Stands for a DeploymentHandle, its method and its response."""

    def __init__(self, *items):
        self.items, self.sessions, self.cancelled = items, [], 0

    def __getattr__(self, name):
        return self

    def options(self, *, session_id=None, **_):
        self.sessions.append(session_id)
        return self

    def remote(self, body, info):
        return self

    def cancel(self):
        self.cancelled += 1

    def __aiter__(self):
        return self._stream()

    async def _stream(self):
        for item in self.items:
            if isinstance(item, Exception):
                raise item
            yield item


def ask(handle, session=None):
    body = ChatCompletionRequest(messages=[{"role": "user", "content": "x"}])
    call = Call(Chat(), body, Request({"type": "http", "headers": []}), session)

    async def work():
        return [item async for item in LocalExpert(handle).ask(call)]

    return asyncio.run(work())


def test_batched_events_come_as_one_text():
    assert ask(FakeHandle([EVENT, EVENT], EVENT)) == [EVENT * 2, EVENT]


@pytest.mark.parametrize("wrap", [lambda e: e, lambda e: [e]], ids=["alone", "in a batch"])
def test_a_refusal_of_the_engine_keeps_its_field(wrap):
    with pytest.raises(RequestError) as caught:
        ask(FakeHandle(wrap(refusal(400))))
    assert (caught.value.status, caught.value.param) == (400, "max_tokens")
    with pytest.raises(ExpertFailed, match="max_tokens is wrong"):
        ask(FakeHandle(wrap(refusal(500))))


def test_an_error_event_is_a_failure_wherever_it_comes():
    event = f"data: {refusal(500).model_dump_json()}\n\n"
    with pytest.raises(ExpertFailed):
        ask(FakeHandle([EVENT, event]))


@pytest.mark.parametrize(
    ("error", "reason"),
    [(ray.exceptions.ActorDiedError(), "lost its replica"), (EngineDeadError(), "lost its engine")],
)
def test_a_dead_process_is_fatal_and_told_in_our_own_words(error, reason):
    with pytest.raises(ExpertFailed, match=reason) as caught:
        ask(FakeHandle(EVENT, error))
    assert caught.value.fatal


def test_the_work_is_cancelled_and_the_session_handed_on():
    handle = FakeHandle(EVENT)
    ask(handle, session="s")
    assert handle.cancelled == 1 and "s" in handle.sessions


def test_an_engine_never_gets_the_clients_key_and_gets_our_trace_where_there_is_one():
    class Seen(FakeHandle):
        def remote(self, body, info):
            self.info = info
            return self

    handle = Seen(EVENT)
    caller = [(b"traceparent", b"theirs"), (b"tracestate", b"theirs")]
    keys = [(b"authorization", b"Bearer pm-1"), (b"x-api-key", b"pm-1"), (b"x-request-id", b"r")]
    request = Request({"type": "http", "headers": [*keys, *caller]})
    body = ChatCompletionRequest(messages=[{"role": "user", "content": "x"}])

    async def work(trace):
        call = Call(Chat(), body, request, None, trace)
        return [item async for item in LocalExpert(handle).ask(call)]

    asyncio.run(work({"traceparent": "ours"}))
    assert handle.info.headers == {"x-request-id": "r", "traceparent": "ours"}
    asyncio.run(work({}))
    theirs = {"traceparent": "theirs", "tracestate": "theirs"}
    assert handle.info.headers == {"x-request-id": "r", **theirs}


@pytest.mark.parametrize(
    ("said", "alive", "sleeper", "asleep", "survives"),
    [
        ([None], True, True, False, True),
        ([None, RuntimeError("engine died")], True, True, False, True),
        ([RuntimeError("engine died")], False, False, True, False),
        ([ray.exceptions.ActorDiedError()], False, True, True, False),
        (DeploymentUnavailableError(None), False, True, True, False),
        (TimeoutError(), True, True, True, False),
    ],
)
def test_whether_anybody_is_there_or_needs_to_be(
    monkeypatch, said, alive, sleeper, asleep, survives
):
    monkeypatch.setattr(local, "TOLD_S", 0.0)

    class Broadcast(FakeHandle):
        def broadcast(self, method):
            assert method == "check_health"
            return self

        async def results_async(self, *, return_exceptions):
            if isinstance(said, Exception):
                raise said
            return said

    assert asyncio.run(LocalExpert(Broadcast()).alive()) is alive
    assert asyncio.run(LocalExpert(Broadcast()).survives()) is survives
    expert = LocalExpert(Broadcast(), sleeps=True)
    assert expert.asleep  # until it is seen awake
    assert asyncio.run(expert.alive()) is sleeper
    assert expert.asleep is asleep
    assert asyncio.run(expert.sleeping()) is (sleeper and asleep)
    assert not asyncio.run(LocalExpert(Broadcast()).sleeping())


def test_a_handle_is_given_time_to_learn_which_replicas_there_are():
    class Slow(FakeHandle):
        asked = 0

        def broadcast(self, method):
            self.asked += 1
            return self

        async def results_async(self, *, return_exceptions):
            if self.asked in (1, 2, 4):
                raise DeploymentUnavailableError(None)
            return [None]

    handle = Slow()
    expert = LocalExpert(handle)
    assert asyncio.run(expert.alive()) and handle.asked == 3
    assert not asyncio.run(expert.alive()), "it knew them, and they are gone"


def test_one_that_answers_is_awake():
    expert = LocalExpert(FakeHandle(EVENT), sleeps=True)

    async def work():
        body = ChatCompletionRequest(messages=[{"role": "user", "content": "x"}])
        call = Call(Chat(), body, Request({"type": "http", "headers": []}), None)
        return [item async for item in expert.ask(call)]

    assert asyncio.run(work()) and not expert.asleep
