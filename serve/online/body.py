"""What a request body says, read before it is decided and dispatched."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from ray.serve.llm.openai_api_models import ChatCompletionRequest, CompletionRequest

from serve.config import ExpertSettings
from serve.encoding.prompt import chat_query, completion_query
from serve.errors import InvalidRequest
from serve.feedback import MAX_ID
from serve.online.serve_llm import plain_lists
from serve.protocol import AUTO, Query


class RouteRequest(BaseModel):
    """The part of a chat or completion body that a decision reads; the rest is ignored."""

    model_config = ConfigDict(extra="ignore")

    messages: list[dict[str, Any]] | None = None
    prompt: str | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None


class FeedbackRequest(BaseModel):
    """What an answer was worth to whoever asked."""

    model_config = ConfigDict(extra="forbid")

    request_id: str = Field(min_length=1, max_length=MAX_ID)
    score: float = Field(ge=0, le=1)


def read_chat(body: ChatCompletionRequest) -> Query:
    """The query of a chat.

    Raises:
        InvalidRequest: no message, or text that is not Unicode.
    """
    if not body.messages:
        raise InvalidRequest("messages must hold at least one message", param="messages")
    plain_lists(body)  # pydantic leaves iterators there, which can be read only once
    query = chat_query(body.messages, body.max_completion_tokens or body.max_tokens)
    _require_text(query.text, "messages")
    return query


def read_completion(body: CompletionRequest) -> Query:
    """The query of a completion.

    Raises:
        InvalidRequest: token ids for model auto, or text that is not Unicode.
    """
    query = completion_query(_prompt_text(body), body.max_tokens)
    _require_text(query.text, "prompt")
    return query


def read_route(body: RouteRequest) -> Query:
    """The query of either.

    Raises:
        InvalidRequest: neither is there, or its text is not Unicode.
    """
    limit = body.max_completion_tokens or body.max_tokens
    if body.messages:
        query = chat_query(body.messages, limit)
    elif body.prompt is not None:
        query = completion_query(body.prompt, limit)
    else:
        raise InvalidRequest("messages or prompt is required", param="messages")
    _require_text(query.text, "messages" if body.messages else "prompt")
    return query


def _prompt_text(body: CompletionRequest) -> str:
    prompt = body.prompt
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, list) and all(isinstance(part, str) for part in prompt):
        return "\n".join(prompt)
    if body.model in (None, AUTO):
        raise InvalidRequest(
            "prompt must be text for model auto: token ids belong to one expert's tokenizer",
            param="prompt",
        )
    return ""


def _require_text(text: str, param: str) -> None:
    """JSON can spell half of a surrogate pair; no tokenizer can read one."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            f"{param} holds text that is not valid Unicode", param=param
        ) from error


def fill_defaults(body: ChatCompletionRequest, expert: ExpertSettings) -> None:
    """The expert's own defaults, where the client gave nothing; its stops beside the client's."""
    for field, value in expert.defaults.model_dump(exclude={"stop"}, exclude_none=True).items():
        newer_name = field == "max_tokens" and body.max_completion_tokens is not None
        if getattr(body, field) is None and not newer_name:
            setattr(body, field, value)
    if expert.defaults.stop:
        given = [body.stop] if isinstance(body.stop, str) else list(body.stop or [])
        body.stop = [*given, *expert.defaults.stop]
