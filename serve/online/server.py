"""The deployment of one expert: Ray Serve LLM's own, and the endpoints of vLLM that Ray leaves out.

    messages, count_tokens   Anthropic's Messages
    responses                OpenAI's Responses
    chat, completions,       Ray's, but that a request over which vLLM stumbles is refused: a few
    embeddings               such would count as the expert's failures, and nobody be sent to it
    tokenize, detokenize     Ray 2.60 looks for vLLM's tokenizer under a name that vLLM 0.29 dropped

A method's answer is an async generator, as `chat`'s is: one Whole, one ErrorResponse, or a stream
of texts, each a whole server-sent event. A cancelled call cancels the await inside it, where vLLM
takes the request out of its engine.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeAlias

from pydantic import BaseModel, RootModel
from ray.serve.llm.deployment import LLMServer
from vllm.entrypoints.serve.engine.protocol import ErrorResponse as Refusal

from serve.online.engine_load import EngineLoad
from serve.online.serve_llm import (
    ErrorInfo,
    ErrorResponse,
    RawRequestInfo,
    app_state,
    engine_client,
)

Item: TypeAlias = BaseModel | str

NOT_YET = ("response.created", "response.in_progress")
"""Events that vLLM sends before it has asked its engine."""

ERROR_EVENT = 'data: {"error"'
"""How vLLM says in a stream of chat chunks that it breaks off."""

CONVERTED_ERROR = "event: error\ndata: "
"""And in a stream of Anthropic's events."""


UNREADABLE = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    RecursionError,
    NotImplementedError,
)
"""What vLLM's reading of an odd request raises; a failing engine has errors of its own.

It says NotImplementedError of embeddings where it wants text, as with beam search.
"""


class Whole(RootModel[dict[str, Any]]):
    """An answer in one piece; `model_dump()` is what the client gets."""


class StreamBroke(RuntimeError):
    """vLLM gave an error in place of the next chunk; the text is vLLM's."""


class ExpertServer(LLMServer):  # type: ignore[misc]
    """One replica of an expert."""

    async def start(self) -> None:
        """Ray's call: starts the engine."""
        await super().start()
        client = engine_client(self.engine)
        self._load = EngineLoad(client.output_processor)
        if client.logger_manager is not None:  # engine: {disable_log_stats: true}
            client.logger_manager.stat_loggers.append(self._load)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Ray's call, every REPORT_S of scaling.py: what its policy is told of this replica."""
        return self._load.told()

    async def chat(
        self, request: Any, raw_request_info: RawRequestInfo | None = None
    ) -> AsyncGenerator[Any, None]:
        """OpenAI's chat completions."""
        return _refusing(await super().chat(request, raw_request_info))

    async def completions(
        self, request: Any, raw_request_info: RawRequestInfo | None = None
    ) -> AsyncGenerator[Any, None]:
        """OpenAI's completions."""
        return _refusing(await super().completions(request, raw_request_info))

    async def embeddings(
        self, request: Any, raw_request_info: RawRequestInfo | None = None
    ) -> AsyncGenerator[Any, None]:
        """OpenAI's embeddings."""
        return _refusing(await super().embeddings(request, raw_request_info))

    async def messages(
        self, body: Any, raw_request_info: RawRequestInfo | None = None
    ) -> AsyncGenerator[Item, None]:
        """Anthropic's Messages, of a MessagesRequest."""
        return self._answer("anthropic_serving_messages", _messages, body, raw_request_info)

    async def count_tokens(
        self, body: Any, raw_request_info: RawRequestInfo | None = None
    ) -> AsyncGenerator[Item, None]:
        """How long a Messages prompt is in this expert's tokens, of a CountTokensRequest."""
        return self._answer("anthropic_serving_messages", _count_tokens, body, raw_request_info)

    async def responses(
        self, body: Any, raw_request_info: RawRequestInfo | None = None
    ) -> AsyncGenerator[Item, None]:
        """OpenAI's Responses, of vLLM's ResponsesRequest."""
        return self._answer("openai_serving_responses", _responses, body, raw_request_info)

    async def tokenize(
        self, request: Any, raw_request_info: RawRequestInfo | None = None
    ) -> AsyncGenerator[Item, None]:
        """Text or chat -> this expert's token ids."""
        return self._answer("serving_tokenization", _tokenize, request, raw_request_info)

    async def detokenize(
        self, request: Any, raw_request_info: RawRequestInfo | None = None
    ) -> AsyncGenerator[Item, None]:
        """This expert's token ids -> text."""
        return self._answer("serving_tokenization", _detokenize, request, raw_request_info)

    async def _answer(
        self,
        name: str,
        ask: Callable[[Any, Any, Any], Awaitable[Any]],
        body: Any,
        raw_request_info: RawRequestInfo | None,
    ) -> AsyncGenerator[Item, None]:
        """What `ask` of vLLM's serving object of that name answers; refusals as ErrorResponse.

        Raises:
            Exception: the engine's own failure, as vLLM raised it.
        """
        serving = getattr(app_state(self.engine), name, None)
        if serving is None:
            yield _bad_request(f"The model {body.model} does not generate: it only embeds")
            return
        raw_request = RawRequestInfo.to_starlette_request_optional(raw_request_info)
        try:
            answer = await ask(serving, body, raw_request)
        except Exception as error:
            answer = serving.create_error_response(error)
            if answer.error.code >= 500:
                if not isinstance(error, UNREADABLE):
                    raise
                answer = _unreadable(error)
        if isinstance(answer, AsyncGenerator):
            async with aclosing(answer):
                async for event in answer:
                    yield event
        elif isinstance(answer, Refusal):
            yield ErrorResponse(error=ErrorInfo(**answer.error.model_dump()))
        else:
            yield answer


async def _refusing(stream: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    """The same answer, or a refusal where vLLM stumbles before it has one."""
    begun = False
    try:
        async with aclosing(stream):
            async for item in stream:
                begun = True
                yield item
    except UNREADABLE as error:
        if begun:
            raise
        yield _unreadable(error)


def _unreadable(error: Exception) -> ErrorResponse:
    return _bad_request(f"vLLM cannot read this request: {type(error).__name__}: {error}")


def _bad_request(message: str) -> ErrorResponse:
    return ErrorResponse(error=ErrorInfo(message=message, type="BadRequestError", code=400))


async def _messages(serving: Any, body: Any, raw_request: Any) -> Any:
    """As serving.create_messages does it, but that a refusal in the stream keeps its status."""
    chat = serving.to_chat_completion_request(
        body, merge_inline_system=serving._merge_inline_system
    )
    chat.repetition_penalty = body.repetition_penalty
    answer = await serving.create_chat_completion(chat, raw_request)
    if isinstance(answer, Refusal):
        return answer
    if not isinstance(answer, AsyncGenerator):
        return Whole(serving.messages_full_converter(answer).model_dump(exclude_none=True))
    first = await anext(answer)
    if first.startswith(ERROR_EVENT):
        await answer.aclose()
        return ErrorResponse.model_validate_json(first.removeprefix("data: "))
    return _closing(serving.message_stream_converter(_without_errors(first, answer)), answer)


async def _without_errors(first: str, rest: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """The same chunks; vLLM's converter would make a riddle of an error among them.

    Raises:
        StreamBroke: at the error, of which the converter makes an error event.
    """
    yield first
    async for chunk in rest:
        if chunk.startswith(ERROR_EVENT):
            told = ErrorResponse.model_validate_json(chunk.removeprefix("data: "))
            raise StreamBroke(told.error.message)
        yield chunk


async def _closing(
    events: AsyncGenerator[str, None], source: AsyncGenerator[str, None]
) -> AsyncGenerator[str, None]:
    """The events, and their source closed with them.

    Raises:
        StreamBroke: the converter came to an error; who asked tells the client of it.
    """
    async with aclosing(source), aclosing(events):
        async for event in events:
            if event.startswith(CONVERTED_ERROR):
                told = json.loads(event.removeprefix(CONVERTED_ERROR))
                raise StreamBroke(told["error"]["message"])
            yield event


async def _count_tokens(serving: Any, body: Any, raw_request: Any) -> Any:
    answer = await serving.count_tokens(body, raw_request)
    return _json(answer, exclude_none=True)


async def _responses(serving: Any, body: Any, raw_request: Any) -> Any:
    """A stream's first events are held until the engine gave one: till then it can be refused."""
    answer = await serving.create_responses(body, raw_request)
    if not isinstance(answer, AsyncGenerator):
        return _json(answer)
    held = []
    async for event in answer:
        held.append(event)
        if event.type not in NOT_YET:
            break
    return _response_events(held, answer)


async def _response_events(
    held: list[Any], rest: AsyncGenerator[Any, None]
) -> AsyncGenerator[str, None]:
    async with aclosing(rest):
        for event in held:
            yield _event(event)
        async for event in rest:
            yield _event(event)


def _event(event: Any) -> str:
    return f"event: {event.type}\ndata: {event.model_dump_json(by_alias=True)}\n\n"


async def _tokenize(serving: Any, body: Any, raw_request: Any) -> Any:
    return _json(await serving.create_tokenize(body, raw_request))


async def _detokenize(serving: Any, body: Any, raw_request: Any) -> Any:
    return _json(await serving.create_detokenize(body, raw_request))


def _json(answer: Any, **form: Any) -> Any:
    """Whole of one of vLLM's answers; a refusal stays what it is."""
    if isinstance(answer, Refusal):
        return answer
    return Whole(answer.model_dump(mode="json", by_alias=True, **form))
