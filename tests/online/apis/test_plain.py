from __future__ import annotations

import asyncio
import json
import pickle

import pytest
from starlette.requests import Request

from serve.config import ExpertSettings
from serve.errors import (
    DeadlineExceeded,
    ExpertUnavailable,
    InvalidRequest,
    NotConfigured,
    UnknownModel,
)
from serve.online.abilities import embeds
from serve.online.access import ANYONE_HERE, Caller
from serve.online.apis.messages import CountTokensRequest
from serve.online.apis.plain import (
    DetokenizeRequest,
    EmbeddingCompletionRequest,
    Plain,
    embedder,
    tokenizer,
)
from serve.online.apis.plain import TokenizeChatRequest as Chat
from serve.online.upstreams.base import ExpertFailed

WRITER = ExpertSettings(id="writer", model="org/a")
READER = ExpertSettings(id="reader", model="org/b", engine={"runner": "pooling"})
HELLO = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]


def test_only_a_pooling_expert_embeds():
    assert embeds(READER)
    assert not embeds(WRITER)
    assert not embeds(ExpertSettings(id="x", model="m", engine={"runner": "generate"}))


@pytest.mark.parametrize("model", [None, "auto"])
def test_who_answers_when_nobody_is_named(model):
    assert tokenizer(model, [READER, WRITER]) is WRITER
    assert tokenizer(model, [READER]) is READER
    assert embedder(model, [WRITER, READER]) is READER


def test_whoever_is_named_answers():
    assert tokenizer("reader", [WRITER, READER]) is READER
    assert embedder("reader", [WRITER, READER]) is READER


@pytest.mark.parametrize("choose", [tokenizer, embedder])
def test_an_unknown_name_lists_the_known(choose):
    with pytest.raises(UnknownModel, match="auto, writer, reader"):
        choose("nobody", [WRITER, READER])


def test_who_cannot_embed_says_what_to_do():
    with pytest.raises(NotConfigured, match="runner: pooling") as caught:
        embedder("auto", [WRITER])
    assert caught.value.status == 501
    with pytest.raises(NotConfigured):
        embedder("writer", [WRITER])
    with pytest.raises(InvalidRequest, match="reader"):
        embedder("writer", [WRITER, READER])


class Fake:
    """An upstream that gives what it is made with."""

    def __init__(self, gives):
        self.gives = gives
        self.asked = None

    async def ask(self, call):
        self.asked = call
        if isinstance(self.gives, Exception):
            raise self.gives
        yield await self.gives if asyncio.iscoroutine(self.gives) else self.gives


def request():
    async def receive():
        await asyncio.sleep(60)

    return Request({"type": "http", "headers": []}, receive)


def plain(gives, timeout_s=1.0, caller=ANYONE_HERE):
    fake = Fake(gives)
    reached = {"writer": fake, "reader": fake}

    async def enter(_):
        return caller

    return Plain([READER, WRITER], reached, enter, timeout_s), fake


def test_a_key_sees_only_the_experts_that_it_may_use():
    one, _ = plain({}, caller=Caller("kid", allow=frozenset({"reader"})))
    answer = asyncio.run(one.tokens("detokenize", DetokenizeRequest(tokens=[1]), request()))
    assert answer.headers["x-pointsman-expert"] == "reader"
    named = DetokenizeRequest(tokens=[1], model="writer")
    with pytest.raises(UnknownModel):
        asyncio.run(one.tokens("detokenize", named, request()))
    one, _ = plain({}, caller=Caller("none", allow=frozenset()))
    with pytest.raises(NotConfigured):
        asyncio.run(one.tokens("detokenize", DetokenizeRequest(tokens=[1]), request()))


def test_a_copy_of_the_body_goes_to_the_expert():
    one, fake = plain({"prompt": "Hi"})
    given = DetokenizeRequest(tokens=[1])
    answer = asyncio.run(one.tokens("detokenize", given, request()))
    assert json.loads(answer.body) == {"prompt": "Hi"}
    assert answer.headers["x-pointsman-expert"] == "writer"
    assert (fake.asked.api.method, fake.asked.body.model) == ("detokenize", "writer")
    assert given.model is None
    asyncio.run(one.tokens("count_tokens", CountTokensRequest(messages=[]), request()))
    assert fake.asked.body.model == "writer"
    asyncio.run(one.embeddings(EmbeddingCompletionRequest(input="x"), request()))
    assert (fake.asked.api.method, fake.asked.body.model) == ("embeddings", "reader")


def test_a_chat_can_travel_to_its_expert():
    one, fake = plain({})
    asyncio.run(one.tokens("tokenize", Chat(messages=HELLO), request()))
    sent = pickle.loads(pickle.dumps(fake.asked.body))
    assert sent.messages[0]["content"] == HELLO[0]["content"]


def test_a_chat_of_the_wrong_form_is_refused_when_it_is_read():
    call = {"id": "c", "type": "custom", "custom": {"name": "x"}}
    wrong = Chat(messages=[{"role": "assistant", "tool_calls": [call]}])
    one, _ = plain({})
    with pytest.raises(InvalidRequest) as caught:
        asyncio.run(one.tokens("tokenize", wrong, request()))
    assert caught.value.param == "messages"


def test_bytes_do_not_go_into_json():
    one, _ = plain({})
    body = EmbeddingCompletionRequest(input="x", encoding_format="bytes")
    with pytest.raises(InvalidRequest) as caught:
        asyncio.run(one.embeddings(body, request()))
    assert caught.value.param == "encoding_format"


def test_an_expert_that_fails_or_hangs_is_told():
    one, _ = plain(ExpertFailed("died"))
    with pytest.raises(ExpertUnavailable, match="writer failed: died"):
        asyncio.run(one.tokens("detokenize", DetokenizeRequest(tokens=[1]), request()))

    async def late():
        slow, _ = plain(asyncio.sleep(60), timeout_s=0.01)
        await slow.tokens("detokenize", DetokenizeRequest(tokens=[1]), request())

    with pytest.raises(DeadlineExceeded):
        asyncio.run(late())
