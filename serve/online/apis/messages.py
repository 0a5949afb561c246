"""Anthropic's Messages: POST /v1/messages, as vLLM answers it.

A stream has usage at its start, when nothing is written yet, and in its message_delta at the end;
the last is what counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ConfigDict
from vllm.entrypoints.anthropic.protocol import (
    AnthropicContentBlock,
    AnthropicCountTokensRequest,
    AnthropicMessage,
    AnthropicMessagesRequest,
)

from serve.config import ExpertSettings
from serve.encoding.prompt import CHARACTERS_PER_TOKEN, chat_query
from serve.errors import InvalidRequest, RequestError
from serve.online.apis.base import Bill, Usage
from serve.online.apis.openai import Readable, require_text
from serve.online.surface import anthropic_error
from serve.protocol import AUTO, Query
from serve.terms import Needs

NOT_OF_THE_PROMPT = "x-anthropic-billing-header"
"""Starts a system block of Claude Code, with a hash of the request; vLLM drops it too."""

INPUT = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
"""Anthropic counts the tokens of a prompt in three parts."""


class MessagesRequest(Readable, AnthropicMessagesRequest):  # type: ignore[misc]
    """vLLM's body of /v1/messages; no model is the router's, as in a chat."""

    model_config = ConfigDict(extra="allow")  # `routing` is among them

    model: str = AUTO
    repetition_penalty: float | None = None


class CountTokensRequest(Readable, AnthropicCountTokensRequest):  # type: ignore[misc]
    """vLLM's body of /v1/messages/count_tokens."""

    model: str = AUTO


class Messages:
    """base.Api of Anthropic's Messages."""

    method = "messages"
    path = "/messages"
    usage_mark = "event: message_delta\n"
    end_mark = "event: message_stop\n"

    def begun(self, text: str) -> bool:
        """From the first block of content on."""
        return "event: content_block_" in text or self.usage_mark in text

    def query(self, body: MessagesRequest) -> Query:
        """The same text as of a chat with the same words.

        Raises:
            InvalidRequest: no message, or text that is not Unicode.
        """
        if not body.messages:
            raise InvalidRequest("messages must hold at least one message", param="messages")
        query = chat_query(self.turns(body), body.max_tokens)
        require_text(query.text, "messages")
        return query

    def turns(self, body: MessagesRequest | CountTokensRequest) -> list[dict[str, Any]]:
        """The chat it is: the system text first, tool results as messages of their own."""
        system = body.system or []
        if isinstance(system, str):
            system = [AnthropicContentBlock(type="text", text=system)]
        chat = [{"role": "system", "content": _texts(system)}] if system else []
        for message in body.messages:
            chat += _turns(message)
        return chat

    def needs(self, body: MessagesRequest) -> Needs:
        """What an expert must be able to do to answer."""
        tools = body.tools or []
        schemas = [tool.model_dump(exclude_none=True) for tool in tools]
        form = body.output_config and body.output_config.format
        return Needs(
            images=any(_has_image(message.content) for message in body.messages),
            tools=bool(tools) and not (body.tool_choice and body.tool_choice.type == "none"),
            structured=bool(form),
            extra_tokens=len(json.dumps(schemas)) // CHARACTERS_PER_TOKEN if tools else 0,
        )

    def address(self, body: MessagesRequest, expert: ExpertSettings) -> MessagesRequest:
        """A copy of the body for that expert; max_tokens is always the client's."""
        update: dict[str, Any] = {"model": expert.id}
        given = expert.defaults.model_dump(exclude={"stop", "max_tokens"}, exclude_none=True)
        update |= {field: value for field, value in given.items() if getattr(body, field) is None}
        if expert.defaults.stop:
            update["stop_sequences"] = [*(body.stop_sequences or []), *expert.defaults.stop]
        addressed: MessagesRequest = body.model_copy(update=update)
        return addressed

    def usage(self, answer: Mapping[str, Any]) -> Usage | None:
        """Of a whole message, or of a message_delta."""
        usage = answer.get("usage")
        if not usage:
            return None
        return Usage(sum(usage.get(part) or 0 for part in INPUT), usage.get("output_tokens") or 0)

    def billed(self, answer: dict[str, Any], bill: Bill) -> dict[str, Any]:
        """The same answer or event, its usage with bill.fields()."""
        if not answer.get("usage"):
            return answer
        return answer | {"usage": answer["usage"] | bill.fields()}

    def asked_for(self, body: MessagesRequest, event: Mapping[str, Any]) -> bool:
        """Always: Anthropic's streams all have usage."""
        return True

    def failure(self, error: RequestError) -> str:
        """An error event, at which Anthropic's clients raise."""
        return f"event: error\ndata: {json.dumps(anthropic_error(error.status, str(error)))}\n\n"


def _turns(message: AnthropicMessage) -> Iterable[dict[str, Any]]:
    if isinstance(message.content, str):
        yield {"role": message.role, "content": message.content}
        return
    results = [
        {"role": "tool", "tool_call_id": block.tool_use_id, "content": block.content}
        for block in message.content
        if block.type == "tool_result"
    ]
    yield from results
    calls = [
        {"id": block.id, "function": {"name": block.name}}
        for block in message.content
        if block.type == "tool_use"
    ]
    texts = _texts(message.content)
    if texts or calls or not results:
        yield {"role": message.role, "content": texts, "tool_calls": calls}


def _texts(blocks: Sequence[AnthropicContentBlock]) -> list[dict[str, Any]]:
    return [
        {"type": "text", "text": block.text}
        for block in blocks
        if block.type == "text" and block.text and not block.text.startswith(NOT_OF_THE_PROMPT)
    ]


def _has_image(content: Any) -> bool:
    if isinstance(content, str):
        return False
    results = [block.content for block in content if isinstance(block.content, list)]
    return any(block.type == "image" for block in content) or any(
        part.get("type") == "image" for result in results for part in result
    )
