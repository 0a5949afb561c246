"""The FastAPI application under the ingress: every error in the form of the path's own API.

    {"error": {"message": ..., "type": ..., "param": ..., "code": ...}}     OpenAI's
    {"type": "error", "error": {"type": ..., "message": ...}}               Anthropic's

Ray Serve LLM's own application answers errors in other forms and copies each streamed chunk through
two middlewares; this one adds nothing to a chunk. Serve itself gives every answer its x-request-id.
"""

import math
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from vllm.exceptions import VLLMClientError

from serve import __version__
from serve.config import LimitSettings
from serve.errors import ExpertUnavailable, RequestError, TooLarge
from serve.online.console.routes import add as add_console
from serve.online.serve_llm import ErrorInfo, OpenAIHTTPException

ANTHROPIC = "/v1/messages"
"""Where Anthropic's API begins; its clients read no other form of an error there."""

ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}
"""Anthropic's error types, by status; any other is one of the two ordinary ones."""

BODY_TAG = "body:"
"""Starts the tag of one of several bodies that an endpoint takes; it is no field of the body."""


class BodyLimit:
    """Refuses a request body that is too large, without keeping what came of it.

    Args:
        app: ASGI.
        limit: bytes.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI; what is sent is not touched."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._limit:
                raise HTTPException(413, f"The body has more than {self._limit} bytes")
            return message

        length = Headers(scope=scope).get("content-length", "0")
        if length.isdigit() and int(length) > self._limit:
            told = f"The body has {length} bytes, more than {self._limit}"
            answer = _answer(Request(scope), 413, told, TooLarge.type, None, TooLarge.code)
            await answer(scope, receive, send)
            return
        await self._app(scope, counted, send)


def surface(body_bytes: int = LimitSettings().body_bytes) -> FastAPI:
    """A fresh application with the console alone, which takes bodies of so many bytes."""
    app = FastAPI(title="pointsman", version=__version__)
    app.add_middleware(BodyLimit, limit=body_bytes)
    app.add_exception_handler(RequestError, _request_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(VLLMClientError, _vllm_error)
    app.add_exception_handler(OpenAIHTTPException, _serve_llm_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _mistake_of_ours)
    add_console(app)
    return app


def error_from_engine(error: ErrorInfo, body: BaseModel) -> RequestError:
    """vLLM's own refusal of a request, as it said it, with the field of the body at fault."""
    if error.code >= 500:
        return ExpertUnavailable(error.message, code="expert_failed")
    refusal = RequestError(error.message, param=_field(error, body))
    refusal.status = error.code
    return refusal


def error_body(
    path: str, status: int, message: str, type_: str, param: str | None, code: str | None
) -> dict[str, Any]:
    """An error in the form of the API that has this path."""
    if path.startswith(ANTHROPIC):
        return anthropic_error(status, message)
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}


def anthropic_error(status: int, message: str) -> dict[str, Any]:
    """Anthropic's form, whose type goes with the status."""
    ordinary = "invalid_request_error" if status < 500 else "api_error"
    type_ = ANTHROPIC_TYPES.get(status, ordinary)
    return {"type": "error", "error": {"type": type_, "message": message}}


def openai_error(error: RequestError) -> dict[str, Any]:
    """OpenAI's form."""
    return error_body("", error.status, str(error), error.type, error.param, error.code)


def _field(error: ErrorInfo, body: BaseModel) -> str | None:
    """vLLM counts a prompt as input_tokens, and names some fields in the first word alone."""
    fields = type(body).model_fields
    if error.param in ("input_tokens", "input_text"):
        return next(name for name in ("messages", "input", "prompt") if name in fields)
    first_word = error.message.split(maxsplit=1)[0] if error.message else ""
    return error.param or (first_word if first_word in fields else None)


def _answer(
    request: Request, status: int, message: str, type_: str, param: str | None, code: str | None
) -> JSONResponse:
    body = error_body(request.url.path, status, message, type_, param, code)
    return JSONResponse(body, status_code=status)


async def _request_error(request: Request, error: Any) -> JSONResponse:
    answer = _answer(request, error.status, str(error), error.type, error.param, error.code)
    answer.headers.update(error.headers)
    if error.retry_after_s is not None:
        answer.headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    return answer


async def _http_error(request: Request, error: Any) -> JSONResponse:
    kind = "invalid_request_error" if error.status_code < 500 else "server_error"
    return _answer(request, error.status_code, str(error.detail), kind, None, None)


async def _mistake_of_ours(request: Request, error: Any) -> JSONResponse:
    """The log has the rest."""
    told = "pointsman made a mistake; its log says which"
    return _answer(request, 500, told, "server_error", None, None)


async def _serve_llm_error(request: Request, error: Any) -> JSONResponse:
    return await _http_error(request, HTTPException(error.status_code, error.message))


async def _vllm_error(request: Request, error: Any) -> JSONResponse:
    """Raised by vLLM's request classes while FastAPI parses the body; no ValueError, so not 422."""
    param = getattr(error, "parameter", None)
    return _answer(request, 400, str(error.args[0]), "invalid_request_error", param, None)


async def _validation_error(request: Request, error: Any) -> JSONResponse:
    mistake = error.errors()[0]
    if mistake["type"] == "json_invalid":
        place = f"{mistake['ctx']['error']} at character {mistake['loc'][-1]}"
        message = f"The body is not valid JSON: {place}"
        return _answer(request, 400, message, "invalid_request_error", None, "invalid_json")
    path = [str(part) for part in mistake["loc"][1:] if not str(part).startswith(BODY_TAG)]
    param = path[0] if path else None
    where = f"{param}: " if param else ""
    message = where + str(mistake["msg"]).removeprefix("Value error, ")
    return _answer(request, 400, message, "invalid_request_error", param, "invalid_value")
