"""The endpoints that only pass on: embeddings, tokenize, detokenize, count_tokens.

Nothing is decided here by the router. `model` names the expert; where it names none, the first of
the settings that can answer does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import Discriminator, Tag
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from vllm.entrypoints.pooling.embed import protocol as embed
from vllm.entrypoints.serve.tokenize import protocol as tokenize

from serve.config import ExpertSettings
from serve.errors import (
    DeadlineExceeded,
    ExpertUnavailable,
    InvalidRequest,
    NotConfigured,
    UnknownModel,
)
from serve.online.abilities import embeds
from serve.online.access import Caller
from serve.online.apis.base import Api
from serve.online.apis.openai import Readable, require_lists
from serve.online.disconnect import CLIENT_GONE, ClientGone, unless_gone
from serve.online.telemetry import HEADER_EXPERT
from serve.online.upstreams.base import Call, ExpertFailed, Item, Upstream
from serve.online.wish import is_routed
from serve.protocol import AUTO

__all__ = [
    "DetokenizeRequest",
    "EmbeddingCompletionRequest",
    "Plain",
    "TokenizeBody",
    "embedder",
    "tokenizer",
]


class EmbeddingCompletionRequest(Readable, embed.EmbeddingCompletionRequest):  # type: ignore[misc]
    """Body of /v1/embeddings."""


class TokenizeCompletionRequest(Readable, tokenize.TokenizeCompletionRequest):  # type: ignore[misc]
    """Text, of /tokenize."""


class TokenizeChatRequest(Readable, tokenize.TokenizeChatRequest):  # type: ignore[misc]
    """A chat, of /tokenize."""


class DetokenizeRequest(Readable, tokenize.DetokenizeRequest):  # type: ignore[misc]
    """Body of /detokenize."""


def _form(body: Any) -> str:
    return "body:chat" if isinstance(body, dict) and "messages" in body else "body:text"


TokenizeBody = Annotated[
    Annotated[TokenizeCompletionRequest, Tag("body:text")]
    | Annotated[TokenizeChatRequest, Tag("body:chat")],
    Discriminator(_form),
]
"""Text or a chat: vLLM's two bodies of /tokenize, told apart by the field that each must have."""

WAY_OUT = "give one `engine: {runner: pooling}` in the settings"


def tokenizer(model: str | None, experts: Sequence[ExpertSettings]) -> ExpertSettings:
    """Whose tokenizer answers; auto: the first expert that generates, else the first.

    Raises:
        UnknownModel: no expert that runs here has that name.
        NotConfigured: none runs here.
    """
    if not is_routed(model):
        return _named(model, experts)
    if not experts:
        raise NotConfigured("No expert that you may use runs here", param="model")
    return next((expert for expert in experts if not embeds(expert)), experts[0])


def embedder(model: str | None, experts: Sequence[ExpertSettings]) -> ExpertSettings:
    """Who embeds; auto: the first that does.

    Raises:
        UnknownModel: no expert has that name.
        NotConfigured: none embeds.
        InvalidRequest: that one does not, and others do.
    """
    asked = None if is_routed(model) else _named(model, experts)
    able = [expert for expert in experts if embeds(expert)]
    if not able:
        raise NotConfigured(f"No expert embeds: {WAY_OUT}", param="model")
    if asked is None:
        return able[0]
    if asked not in able:
        names = ", ".join(expert.id for expert in able)
        raise InvalidRequest(f"{asked.id} does not embed. Models that do: {names}", param="model")
    return asked


class Plain:
    """The request path of these endpoints, beside gateway.Gateway.

    Args:
        experts: of the settings; those that run elsewhere have no part in this.
        upstreams: expert id -> how it is reached.
        enter: tells who asks, counts the request, and raises where it may not come in
            (gateway.Gateway.enter).
        timeout_s: seconds that an answer may take.
    """

    def __init__(
        self,
        experts: Sequence[ExpertSettings],
        upstreams: Mapping[str, Upstream],
        enter: Callable[[Request], Awaitable[Caller]],
        timeout_s: float,
    ) -> None:
        self._experts = [expert for expert in experts if expert.remote is None]
        self._upstreams = upstreams
        self._enter = enter
        self._timeout_s = timeout_s

    async def embeddings(self, body: EmbeddingCompletionRequest, request: Request) -> Response:
        """OpenAI's embeddings.

        Raises:
            RequestError: as `embedder`, or raw bytes are asked for: a JSON answer holds none.
        """
        experts = await self._open_to(request)
        if body.encoding_format not in ("float", "base64"):
            raise InvalidRequest("encoding_format must be float or base64", param="encoding_format")
        expert = embedder(body.model, experts)
        return await self._answer("embeddings", body, expert, request)

    async def tokens(self, method: str, body: Any, request: Request) -> Response:
        """What only a tokenizer has to do with.

        Args:
            method: tokenize, detokenize or count_tokens.
            body: of that endpoint.
            request: the client's.

        Raises:
            RequestError: as `tokenizer`.
        """
        experts = await self._open_to(request)
        if isinstance(body, TokenizeChatRequest):
            require_lists(body)
        expert = tokenizer(body.model, experts)
        return await self._answer(method, body, expert, request)

    async def _open_to(self, request: Request) -> list[ExpertSettings]:
        """The experts that whoever asks may use; the others do not exist for them."""
        caller = await self._enter(request)
        return [expert for expert in self._experts if caller.may_use(expert.id)]

    async def _answer(
        self, method: str, body: Any, expert: ExpertSettings, request: Request
    ) -> Response:
        addressed = body.model_copy(update={"model": expert.id})
        session = request.headers.get("x-session-id")
        call = Call(cast(Api, _Method(method)), addressed, request, session)
        stream = self._upstreams[expert.id].ask(call)
        try:
            async with aclosing(stream), asyncio.timeout(self._timeout_s):
                answer = await unless_gone(request, _first(stream))
        except ClientGone:
            return Response(status_code=CLIENT_GONE)
        except TimeoutError:
            raise DeadlineExceeded(f"No answer within {self._timeout_s:g} s") from None
        except ExpertFailed as error:
            told = f"Expert {expert.id} failed: {error}"
            raise ExpertUnavailable(told, code="expert_failed") from error
        return JSONResponse(answer, headers={HEADER_EXPERT: expert.id})


async def _first(stream: AsyncGenerator[Item, None]) -> Item:
    return await anext(stream)


@dataclass(frozen=True)
class _Method:
    """All that an upstream here reads of an Api."""

    method: str


def _named(model: str | None, experts: Sequence[ExpertSettings]) -> ExpertSettings:
    known: Mapping[str | None, ExpertSettings] = {expert.id: expert for expert in experts}
    if model not in known:
        names = ", ".join([AUTO, *(expert.id for expert in experts)])
        raise UnknownModel(f"The model {model!r} does not exist. Models: {names}", param="model")
    return known[model]
