"""What chat completions and completions have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ModelWrapValidatorHandler, model_validator
from vllm.entrypoints.generate.base.protocol import StreamOptions

from serve.errors import InvalidRequest, RequestError
from serve.online.apis.base import Bill, Usage
from serve.online.serve_llm import plain_lists

DATA = "data: "


class Readable(BaseModel):
    """Goes before a request class of vLLM's, whose own checks stumble over what is no request.

    They look into `messages` before it is known to be a list, and such; what they raise then is no
    refusal, and would be a 500.
    """

    @model_validator(mode="wrap")
    @classmethod
    def _malformed(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except (TypeError, AttributeError, LookupError) as error:
            raise ValueError(f"the body is malformed: {error}") from error


class OpenAiForm:
    """Events of `choices`, the usage in the last one, [DONE] behind it."""

    usage_mark = '"usage":{'
    end_mark = "data: [DONE]"

    def usage(self, answer: Mapping[str, Any]) -> Usage | None:
        """See base.Api."""
        counted = answer.get("usage")
        if not counted:
            return None
        return Usage(counted.get("prompt_tokens") or 0, counted.get("completion_tokens") or 0)

    def billed(self, answer: dict[str, Any], bill: Bill) -> dict[str, Any]:
        """See base.Api."""
        return {**answer, "usage": {**answer["usage"], **bill.fields()}}

    def asked_for(self, body: Any, event: Mapping[str, Any]) -> bool:
        """See base.Api; a last event without choices comes only to who asks for usage."""
        options = body.stream_options
        return bool(event.get("choices")) or bool(options and options.include_usage)

    def failure(self, error: RequestError) -> str:
        """See base.Api."""
        told = {
            "message": str(error),
            "type": error.type,
            "param": error.param,
            "code": error.code,
        }
        return f"{DATA}{json.dumps({'error': told})}\n\n{DATA}[DONE]\n\n"


def with_usage(body: Any) -> Any:
    """Stream options that end a stream with its usage."""
    if not body.stream:
        return body.stream_options
    kept = body.stream_options.model_dump(exclude_unset=True) if body.stream_options else {}
    return StreamOptions(**{**kept, "include_usage": True})


def require_lists(body: Any) -> None:
    """Make lists of the iterators that pydantic leaves in messages: they can be read only once.

    Raises:
        InvalidRequest: what such an iterator holds is not what it should.
    """
    try:
        plain_lists(body)
    except ValueError as error:
        raise InvalidRequest(f"messages: {error}", param="messages") from error


def require_text(text: str, param: str) -> None:
    """JSON can spell half of a surrogate pair; no tokenizer can read one.

    Raises:
        InvalidRequest: the text holds one.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            f"{param} holds text that is not valid Unicode", param=param
        ) from error
