"""The FastAPI application under the ingress: every error in OpenAI's form.

    {"error": {"message": ..., "type": ..., "param": ..., "code": ...}}

Ray Serve LLM's own application answers errors in other forms and copies each streamed chunk through
two middlewares; this one adds nothing to a chunk. Serve itself gives every answer its x-request-id.
"""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from vllm.exceptions import VLLMClientError

from serve import __version__
from serve.errors import ExpertUnavailable, RequestError
from serve.online.serve_llm import ErrorInfo, OpenAIHTTPException


def surface() -> FastAPI:
    """A fresh application without routes."""
    app = FastAPI(title="pointsman", version=__version__)
    app.add_exception_handler(RequestError, _request_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(VLLMClientError, _vllm_error)
    app.add_exception_handler(OpenAIHTTPException, _serve_llm_error)
    app.add_exception_handler(HTTPException, _http_error)
    return app


def error_from_engine(error: ErrorInfo, body: BaseModel) -> RequestError:
    """vLLM's own refusal of a request, as it said it, with the field of the body at fault."""
    if error.code >= 500:
        return ExpertUnavailable(error.message, code="expert_failed")
    refusal = RequestError(error.message, param=_field(error, body))
    refusal.status = error.code
    return refusal


def _field(error: ErrorInfo, body: BaseModel) -> str | None:
    """vLLM counts a prompt as input_tokens, and names some fields in the first word alone."""
    fields = type(body).model_fields
    if error.param in ("input_tokens", "input_text"):
        return "messages" if "messages" in fields else "prompt"
    first_word = error.message.split(maxsplit=1)[0] if error.message else ""
    return error.param or (first_word if first_word in fields else None)


def _answer(
    status: int, message: str, type_: str, param: str | None, code: str | None
) -> JSONResponse:
    error = {"message": message, "type": type_, "param": param, "code": code}
    return JSONResponse({"error": error}, status_code=status)


async def _request_error(request: Request, error: Any) -> JSONResponse:
    return _answer(error.status, str(error), error.type, error.param, error.code)


async def _http_error(request: Request, error: Any) -> JSONResponse:
    kind = "invalid_request_error" if error.status_code < 500 else "server_error"
    return _answer(error.status_code, str(error.detail), kind, None, None)


async def _serve_llm_error(request: Request, error: Any) -> JSONResponse:
    return await _http_error(request, HTTPException(error.status_code, error.message))


async def _vllm_error(request: Request, error: Any) -> JSONResponse:
    """Raised by vLLM's request classes while FastAPI parses the body; no ValueError, so not 422."""
    param = getattr(error, "parameter", None)
    return _answer(400, str(error.args[0]), "invalid_request_error", param, None)


async def _validation_error(request: Request, error: Any) -> JSONResponse:
    mistake = error.errors()[0]
    if mistake["type"] == "json_invalid":
        place = f"{mistake['ctx']['error']} at character {mistake['loc'][-1]}"
        message = f"The body is not valid JSON: {place}"
        return _answer(400, message, "invalid_request_error", None, "invalid_json")
    path = [str(part) for part in mistake["loc"][1:]]
    param = path[0] if path else None
    where = f"{param}: " if param else ""
    message = where + str(mistake["msg"]).removeprefix("Value error, ")
    return _answer(400, message, "invalid_request_error", param, "invalid_value")
