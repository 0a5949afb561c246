"""A remote expert over real HTTP; the endpoint behind it is fake."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web
from ray.serve.llm.openai_api_models import ChatCompletionRequest
from starlette.requests import Request

from serve.config import ExpertSettings
from serve.errors import RequestError, SettingsError
from serve.online.apis.chat import Chat
from serve.online.upstreams.base import Call, ExpertFailed
from serve.online.upstreams.remote import RemoteExpert
from tests.waiting import seen

CHUNK = {"model": "theirs", "choices": [{"index": 0, "delta": {"content": "é"}}]}
EVENT = f"data: {json.dumps(CHUNK)}\n\n".encode()
DONE = b"data: [DONE]\n\n"


class FakeCloud:
    """Answers every request with the bytes it is told, cut where it is told."""

    def __init__(self, *parts, status=200, hang=False):
        self.parts, self.status, self.hang = parts, status, hang
        self.seen, self.headers, self.gone = None, None, False

    async def handle(self, request):
        self.seen, self.headers = await request.json(), request.headers
        response = web.StreamResponse(status=self.status)
        await response.prepare(request)
        try:
            for part in self.parts:
                await response.write(part)
                await asyncio.sleep(0.01)
            if self.hang:
                while True:
                    await response.write(b": ping\n\n")
                    await asyncio.sleep(0.01)
        except (ConnectionError, asyncio.CancelledError):
            self.gone = True
            raise
        return response


async def ask(cloud, *, stream=True, take=None, monkeypatch=None):
    app = web.Application()
    app.router.add_post("/v1/chat/completions", cloud.handle)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    remote = {"url": f"http://127.0.0.1:{port}/v1", "model": "theirs", "api_key_env": "CLOUD_KEY"}
    expert = RemoteExpert(ExpertSettings(id="cloud", remote=remote))
    body = ChatCompletionRequest(
        model="cloud", messages=[{"role": "user", "content": "x"}], stream=stream
    )
    request = Request({"type": "http", "headers": [(b"x-own", b"1")]})
    call = Call(Chat(), body, request, None, {"traceparent": "ours"})
    items = []
    answer = expert.ask(call)
    try:
        async for item in answer:
            items.append(item)
            if take == len(items):
                break
    finally:
        await answer.aclose()
        await seen(lambda: cloud.gone or not cloud.hang)
        await expert._http().close()
        await runner.cleanup()
    return items


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("CLOUD_KEY", "sk-secret")


def test_a_stream_cut_anywhere_comes_out_in_whole_events_under_our_name():
    whole = EVENT * 2 + DONE
    cloud = FakeCloud(*(bytes([byte]) for byte in whole))
    items = asyncio.run(ask(cloud))
    assert len(items) == 3 and items[-1] == "data: [DONE]\n\n"
    said = json.loads(items[0].removeprefix("data: "))
    assert said["model"] == "cloud" and said["choices"][0]["delta"]["content"] == "é"
    assert cloud.seen["model"] == "theirs" and cloud.headers["authorization"] == "Bearer sk-secret"
    assert cloud.headers["traceparent"] == "ours" and "x-own" not in cloud.headers


def test_a_whole_answer():
    answer = {"model": "theirs", "choices": [], "usage": {}}
    (item,) = asyncio.run(ask(FakeCloud(json.dumps(answer).encode()), stream=False))
    assert item == answer | {"model": "cloud"}


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([EVENT, EVENT[:20]], "within an event"),
        ([b"data: not json\n\n"], "not JSON"),
        ([b"data: [1]\n\n"], "not an object"),
        ([b'data: {"choices": 7}\n\n'], "no choices"),
        ([b'data: {"choices": [7]}\n\n'], "another form"),
        ([b'data: {"choices": [{"delta": "x"}]}\n\n'], "another form"),
        ([b'data: {"choices": [], "usage": {"prompt_tokens": "many"}}\n\n'], "another form"),
        ([b'data: {"choices": [], "usage": 7.5}\n\n'], "another form"),
        ([b'data: {"error": {"message": "out of memory"}}\n\n'], "out of memory"),
        ([b"\xff\xfe\xff\n\n", b"data: \xff\n\n"], "not JSON"),
    ],
)
def test_garbage_is_the_experts_failure(parts, reason):
    with pytest.raises(ExpertFailed, match=reason):
        asyncio.run(ask(FakeCloud(*parts)))


@pytest.mark.parametrize("raw", [b"<html>", b"[]", b'{"choices": null}', b""])
def test_a_whole_answer_that_is_none_is_too(raw):
    with pytest.raises(ExpertFailed):
        asyncio.run(ask(FakeCloud(raw), stream=False))


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_what_the_client_cannot_mend_is_the_experts_failure(status):
    told = b'{"error": {"message": "no such key"}}'
    with pytest.raises(ExpertFailed, match=f"{status}: no such key") as caught:
        asyncio.run(ask(FakeCloud(told, status=status)))
    assert "sk-secret" not in str(caught.value)


def test_what_it_can_is_a_refusal():
    with pytest.raises(RequestError, match="bad field") as caught:
        asyncio.run(ask(FakeCloud(b'{"error": {"message": "bad field"}}', status=400)))
    assert caught.value.status == 400


def test_leaving_early_ends_the_work_there():
    cloud = FakeCloud(EVENT, hang=True)
    assert len(asyncio.run(ask(cloud, take=1))) == 1
    assert cloud.gone


def test_nothing_that_listens_is_fatal_and_not_healthy():
    remote = {"url": "http://127.0.0.1:9/v1"}
    expert = RemoteExpert(ExpertSettings(id="cloud", remote=remote))

    async def work():
        body = ChatCompletionRequest(messages=[{"role": "user", "content": "x"}])
        call = Call(Chat(), body, Request({"type": "http", "headers": []}), None)
        with pytest.raises(ExpertFailed) as caught:
            await anext(expert.ask(call))
        assert caught.value.fatal
        assert not await expert.healthy()
        await expert._http().close()

    asyncio.run(work())


def test_a_missing_key_is_said_at_the_start(monkeypatch):
    monkeypatch.delenv("CLOUD_KEY")
    remote = {"url": "http://127.0.0.1:9/v1", "api_key_env": "CLOUD_KEY"}
    with pytest.raises(SettingsError, match="CLOUD_KEY is not set"):
        RemoteExpert(ExpertSettings(id="cloud", remote=remote))
