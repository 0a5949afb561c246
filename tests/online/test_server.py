"""An expert's extra endpoints over vLLM's own converters, with a stand-in for its engine."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from vllm.entrypoints.anthropic.serving import AnthropicServingMessages
from vllm.entrypoints.openai.chat_completion.protocol import (
    ChatCompletionRequest,
    ChatCompletionResponse,
    ChatCompletionStreamResponse,
)
from vllm.entrypoints.serve.engine.serving import BaseServing
from vllm.exceptions import VLLMValidationError

from serve.online.apis.messages import CountTokensRequest, MessagesRequest
from serve.online.apis.plain import DetokenizeRequest
from serve.online.serve_llm import ErrorResponse, RawRequestInfo
from serve.online.server import ExpertServer, StreamBroke, Whole
from tests.online.apis.test_responses import body as response_body
from tests.online.apis.test_responses import done, response

HELLO = [{"role": "user", "content": "Hello"}]
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
REFUSED = BaseServing.create_error_response(VLLMValidationError("bad", parameter="top_p"))


def messages(**fields):
    return MessagesRequest(**({"model": "e", "messages": HELLO, "max_tokens": 7} | fields))


def chunk(**delta):
    choices = [{"index": 0, "delta": delta}] if delta else []
    told = ChatCompletionStreamResponse(model="e", choices=choices, usage=USAGE)
    return f"data: {told.model_dump_json()}\n\n"


CHUNKS = [chunk(role="assistant"), chunk(content="Hi"), chunk(), "data: [DONE]\n\n"]
ERROR = f"data: {REFUSED.model_dump_json()}\n\n"


class Serving(AnthropicServingMessages):
    """vLLM's own, with what its engine would give."""

    def __init__(self, gives):
        self.gives = gives
        self.closed = asyncio.Event()
        self.stop_reason_map = {"stop": "end_turn"}
        self._merge_inline_system = False

    async def create_chat_completion(self, request, raw_request=None):
        self.asked = request
        return await self._give(request.stream)

    async def create_responses(self, request, raw_request=None):
        return await self._give(request.stream)

    async def create_detokenize(self, request, raw_request):
        return await self._give(False)

    async def render_chat_request(self, request):
        return None, [{"prompt_token_ids": [1, 2, 3]}]

    async def _give(self, stream):
        if isinstance(self.gives, Exception):
            raise self.gives
        if not stream:
            try:
                return await self.gives if asyncio.isfuture(self.gives) else self.gives
            finally:
                self.closed.set()
        return self._stream()

    async def _stream(self):
        try:
            for item in self.gives:
                if isinstance(item, Exception):
                    raise item
                yield await item if asyncio.isfuture(item) else item
        finally:
            self.closed.set()


class Expert(ExpertServer):
    def __del__(self):
        """Ray's is a coroutine that only its own replica awaits."""


def server(serving, *names):
    one = object.__new__(Expert)
    state = SimpleNamespace(**dict.fromkeys(names or ALL, serving))
    one.engine = SimpleNamespace(_app_state=state)
    return one


ALL = ("anthropic_serving_messages", "openai_serving_responses", "serving_tokenization")


async def collect(stream):
    return [item async for item in await stream]


def answer(serving, method, body):
    async def run():
        return await collect(getattr(server(serving), method)(body, RawRequestInfo()))

    return asyncio.run(run())


def chat_answer():
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}}
    return ChatCompletionResponse(
        model="e", choices=[{**choice, "finish_reason": "stop"}], usage=USAGE
    )


def test_a_message():
    serving = Serving(chat_answer())
    (whole,) = answer(serving, "messages", messages(repetition_penalty=1.1))
    told = whole.model_dump()
    assert told["content"] == [{"type": "text", "text": "Hi"}]
    assert told["usage"] == {"input_tokens": 7, "output_tokens": 5}
    assert serving.asked.repetition_penalty == 1.1 and serving.asked.max_tokens == 7


def test_a_message_streams_whole_events():
    events = answer(Serving(CHUNKS), "messages", messages(stream=True))
    assert all(event.startswith("event: ") and event.endswith("\n\n") for event in events)
    names = [event.split("\n")[0].removeprefix("event: ") for event in events]
    assert names[0] == "message_start" and names[-2:] == ["message_delta", "message_stop"]


def test_a_refusal_keeps_its_status_and_field():
    for serving in (Serving([ERROR]), Serving(VLLMValidationError("bad", parameter="top_p"))):
        (told,) = answer(serving, "messages", messages(stream=True))
        assert isinstance(told, ErrorResponse)
        assert (told.error.code, told.error.message, told.error.param) == (
            400,
            REFUSED.error.message,
            "top_p",
        )
    (told,) = answer(Serving(REFUSED), "messages", messages())
    assert told.error.code == 400


def test_an_error_amid_a_stream_is_raised_for_who_asked():
    with pytest.raises(StreamBroke, match="bad"):
        answer(Serving([*CHUNKS[:2], ERROR]), "messages", messages(stream=True))


def test_the_engines_own_failure_is_raised():
    with pytest.raises(OSError, match="boom"):
        answer(Serving(OSError("boom")), "messages", messages())


@pytest.mark.parametrize(
    "error",
    [KeyError("role"), TypeError("odd"), RecursionError("deep"), NotImplementedError("embeddings")],
)
def test_a_request_that_vllm_stumbles_over_is_the_requests_fault(error):
    (told,) = answer(Serving(error), "messages", messages())
    assert told.error.code == 400 and str(error) in told.error.message


def chat(engine_chat, stream=False):
    one = server(None)
    one.engine.chat = engine_chat
    one._llm_config = SimpleNamespace(experimental_configs={"stream_batching_interval_ms": 0})
    body = ChatCompletionRequest(messages=HELLO, stream=stream)
    one._maybe_add_request_id_to_request = one._maybe_resolve_lora_from_multiplex = nothing
    return asyncio.run(collect(one.chat(body)))


async def nothing(*_):
    """Needs a replica's context."""


async def stumbles(request, raw_request_info):
    yield request.messages[0]["no such"]


async def breaks(request, raw_request_info):
    yield "data: {}\n\n"
    raise KeyError("late")


async def dies(request, raw_request_info):
    raise RuntimeError("engine dead")
    yield


@pytest.mark.parametrize("stream", [False, True])
def test_so_it_is_in_a_chat(stream):
    told = chat(stumbles, stream)[0]
    told = told[0] if isinstance(told, list) else told
    assert told.error.code == 400 and "KeyError: 'no such'" in told.error.message


def test_what_fails_later_or_in_the_engine_is_not():
    with pytest.raises(KeyError, match="late"):
        chat(breaks, stream=True)
    with pytest.raises(RuntimeError, match="engine dead"):
        chat(dies)


def test_a_prompt_is_counted():
    (whole,) = answer(Serving(None), "count_tokens", CountTokensRequest(messages=HELLO))
    assert whole.model_dump()["input_tokens"] == 3


def event(kind, **fields):
    return SimpleNamespace(type=kind, model_dump_json=lambda by_alias: f'{{"type":"{kind}"}}')


EVENTS = [event("response.created"), event("response.in_progress"), event("response.completed")]


def test_a_response_and_its_stream():
    (whole,) = answer(Serving(done()), "responses", response_body())
    assert whole.model_dump()["usage"]["output_tokens"] == 5
    events = answer(Serving(EVENTS), "responses", response_body(stream=True))
    assert events == [f'event: {e.type}\ndata: {{"type":"{e.type}"}}\n\n' for e in EVENTS]


def test_a_response_can_be_refused_until_the_engine_answers():
    gives = [*EVENTS[:2], VLLMValidationError("bad", parameter="top_p")]
    (told,) = answer(Serving(gives), "responses", response_body(stream=True))
    assert isinstance(told, ErrorResponse) and told.error.param == "top_p"
    assert response("queued").status == "queued"


def test_tokens_become_text():
    from vllm.entrypoints.serve.tokenize.protocol import DetokenizeResponse

    serving = Serving(DetokenizeResponse(prompt="Hi"))
    assert answer(serving, "detokenize", DetokenizeRequest(tokens=[1])) == [Whole({"prompt": "Hi"})]


def test_an_expert_that_only_embeds_says_so():
    one = server(None, "serving_tokenization")
    (told,) = asyncio.run(collect(one.messages(messages())))
    assert told.error.code == 400 and "only embeds" in told.error.message


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("messages", messages()),
        ("messages", messages(stream=True)),
        ("responses", response_body()),
        ("responses", response_body(stream=True)),
    ],
)
def test_a_cancelled_call_ends_what_vllm_does(method, body):
    async def run():
        forever = asyncio.get_running_loop().create_future()
        first = CHUNKS[:2] if method == "messages" else EVENTS[:1]
        serving = Serving([*first, forever] if body.stream else forever)
        task = asyncio.create_task(collect(getattr(server(serving), method)(body)))
        await asyncio.sleep(0.01)
        assert not serving.closed.is_set()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(serving.closed.wait(), 1)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("method", "body", "gives"),
    [
        ("messages", messages(stream=True), CHUNKS),
        ("responses", response_body(stream=True), EVENTS),
    ],
)
def test_a_closed_stream_closes_vllms(method, body, gives):
    async def run():
        serving = Serving(gives)
        stream = await getattr(server(serving), method)(body)
        await anext(stream)
        await stream.aclose()
        assert serving.closed.is_set()

    asyncio.run(run())
