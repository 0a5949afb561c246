"""POST /v1/chat/completions."""

from __future__ import annotations

import json
from typing import Any

from ray.serve.llm.openai_api_models import ChatCompletionRequest

from serve.config import ExpertSettings
from serve.encoding.prompt import CHARACTERS_PER_TOKEN, chat_query
from serve.errors import InvalidRequest
from serve.online.apis.openai import (
    DATA,
    OpenAiForm,
    Readable,
    require_lists,
    require_text,
    with_usage,
)
from serve.protocol import Query
from serve.terms import Needs

_SAID = ("content", "reasoning", "reasoning_content", "tool_calls", "refusal")


class ChatRequest(Readable, ChatCompletionRequest):  # type: ignore[misc]
    """Body of a chat."""


class Chat(OpenAiForm):
    """See base.Api."""

    method = "chat"
    path = "/chat/completions"

    def query(self, body: ChatRequest) -> Query:
        """See base.Api.

        Raises:
            InvalidRequest: no message, or text that is not Unicode.
        """
        if not body.messages:
            raise InvalidRequest("messages must hold at least one message", param="messages")
        require_lists(body)
        query = chat_query(body.messages, body.max_completion_tokens or body.max_tokens)
        require_text(query.text, "messages")
        return query

    def turns(self, body: ChatRequest) -> list[Any]:
        """See base.Api."""
        return list(body.messages)

    def needs(self, body: ChatRequest) -> Needs:
        """See base.Api."""
        kinds = {
            part.get("type")
            for message in body.messages
            if isinstance(message.get("content"), list)
            for part in message["content"]
            if isinstance(part, dict)
        }
        tools = [tool.model_dump(exclude_none=True) for tool in body.tools or []]
        form = body.response_format
        return Needs(
            images=bool(kinds & {"image_url", "image", "input_image"}),
            audio=bool(kinds & {"input_audio", "audio_url"}),
            tools=bool(tools) and body.tool_choice != "none",
            structured=form is not None and form.type != "text",
            logprobs=bool(body.logprobs),
            extra_tokens=len(json.dumps(tools)) // CHARACTERS_PER_TOKEN if tools else 0,
        )

    def begun(self, text: str) -> bool:
        """See base.Api; the first event may hold a role alone."""
        for line in text.split("\n"):
            if not line.startswith(DATA + "{"):
                continue
            for choice in json.loads(line.removeprefix(DATA)).get("choices") or []:
                delta = choice.get("delta") or {}
                if choice.get("finish_reason") or any(delta.get(name) for name in _SAID):
                    return True
        return False

    def address(self, body: ChatRequest, expert: ExpertSettings) -> Any:
        """See base.Api."""
        addressed = body.model_copy(update={"model": expert.id, "stream_options": with_usage(body)})
        fill_defaults(addressed, expert)
        return addressed


def fill_defaults(body: ChatRequest, expert: ExpertSettings) -> None:
    """The expert's own defaults, where the client gave nothing; its stops beside the client's."""
    for field, value in expert.defaults.model_dump(exclude={"stop"}, exclude_none=True).items():
        newer_name = field == "max_tokens" and body.max_completion_tokens is not None
        if getattr(body, field) is None and not newer_name:
            setattr(body, field, value)
    if expert.defaults.stop:
        given = [body.stop] if isinstance(body.stop, str) else list(body.stop or [])
        body.stop = [*given, *expert.defaults.stop]
