"""OpenAI's Responses without their state: POST /v1/responses, as vLLM answers it.

What OpenAI keeps for a client (earlier responses, conversations, background work, its own tools) is
kept by no replica here: a request that names it is refused with 501.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from vllm.entrypoints.openai.responses.protocol import ResponsesRequest as VllmResponsesRequest

from serve.config import ExpertSettings
from serve.encoding.prompt import CHARACTERS_PER_TOKEN, chat_query
from serve.errors import InvalidRequest, NotConfigured, RequestError
from serve.online.apis.base import Bill, Usage
from serve.online.apis.openai import Readable, require_text
from serve.online.surface import openai_error
from serve.protocol import Query
from serve.terms import Needs

STATE = ("previous_response_id", "background", "conversation")
OWN_TOOLS = ("function", "namespace")
"""The kinds of tools that the client runs; all others are OpenAI's servers'."""


class ResponsesRequest(Readable, VllmResponsesRequest):  # type: ignore[misc]
    """Body of a response."""


class Responses:
    """base.Api of OpenAI's Responses."""

    method = "responses"
    path = "/responses"
    usage_mark = '"usage":{'
    end_mark = "event: response.completed\n"

    def begun(self, text: str) -> bool:
        """From the first item of output on; vLLM says before it that it will begin."""
        return not text.startswith(("event: response.created\n", "event: response.in_progress\n"))

    def query(self, body: ResponsesRequest) -> Query:
        """The same text as of a chat with the same words.

        Raises:
            InvalidRequest: no input, or text that is not Unicode.
            NotConfigured: it asks for what is kept between requests, or for a tool of OpenAI's.
        """
        try:
            body.input = _lists(body.input)
        except ValidationError as error:
            mistake = error.errors(include_url=False, include_context=False)[0]
            raise InvalidRequest(f"input: {mistake['msg']}", param="input") from None
        _refuse_state(body)
        chat = self.turns(body)
        if not chat:
            raise InvalidRequest("input must hold at least one message", param="input")
        query = chat_query(chat, body.max_output_tokens)
        require_text(query.text, "input")
        return query

    def turns(self, body: ResponsesRequest) -> list[dict[str, Any]]:
        """The chat it is: the instructions first; reasoning and the like have no part in it."""
        system = {"role": "system", "content": body.instructions}
        chat = [system] if body.instructions else []
        if isinstance(body.input, str):
            return [*chat, {"role": "user", "content": body.input}]
        turns = [turn for item in body.input if (turn := _turn(_fields(item)))]
        return [*chat, *turns] if turns else []

    def needs(self, body: ResponsesRequest) -> Needs:
        """What an expert must be able to do to answer."""
        schemas = [tool.model_dump(exclude_none=True) for tool in body.tools]
        form = body.text and body.text.format
        kinds = _part_types(body)
        return Needs(
            images="input_image" in kinds,
            audio="input_audio" in kinds,
            tools=bool(body.tools) and body.tool_choice != "none",
            structured=bool(form and form.type != "text") or body.structured_outputs is not None,
            logprobs="message.output_text.logprobs" in (body.include or []),
            extra_tokens=len(json.dumps(schemas)) // CHARACTERS_PER_TOKEN if schemas else 0,
        )

    def address(self, body: ResponsesRequest, expert: ExpertSettings) -> ResponsesRequest:
        """A copy of the body for that expert, which keeps nothing of it."""
        update: dict[str, Any] = {"model": expert.id, "store": False}
        given = expert.defaults.model_dump(exclude={"stop"}, exclude_none=True)
        if "max_tokens" in given:
            given["max_output_tokens"] = given.pop("max_tokens")
        update |= {field: value for field, value in given.items() if getattr(body, field) is None}
        if expert.defaults.stop:
            stop = [body.stop] if isinstance(body.stop, str) else list(body.stop or [])
            update["stop"] = [*stop, *expert.defaults.stop]
        addressed: ResponsesRequest = body.model_copy(update=update)
        return addressed

    def usage(self, answer: Mapping[str, Any]) -> Usage | None:
        """Of a whole response, or of the event that ends its stream."""
        usage = answer.get("response", answer).get("usage")
        return Usage(usage["input_tokens"], usage["output_tokens"]) if usage else None

    def billed(self, answer: dict[str, Any], bill: Bill) -> dict[str, Any]:
        """The same answer or event, its usage with bill.fields()."""
        if "response" in answer:
            return answer | {"response": self.billed(answer["response"], bill)}
        if not answer.get("usage"):
            return answer
        return answer | {"usage": answer["usage"] | bill.fields()}

    def asked_for(self, body: ResponsesRequest, event: Mapping[str, Any]) -> bool:
        """Always: a response's last event has usage."""
        return True

    def failure(self, error: RequestError) -> str:
        """An error event, its fields in the documented place, and where the client looks for them.

        Its sequence_number is 0: how many events went before is the engine's to know.
        """
        told = openai_error(error)
        flat = {key: told["error"][key] for key in ("code", "message", "param")}
        event = {"type": "error", "sequence_number": 0} | flat | told
        return f"event: error\ndata: {json.dumps(event)}\n\n"


def _turn(item: Mapping[str, Any]) -> dict[str, Any] | None:
    kind = item.get("type") or "message"
    if kind == "message":
        return {"role": item.get("role"), "content": item.get("content")}
    if kind == "function_call":
        call = {"id": item.get("call_id"), "function": {"name": item.get("name")}}
        return {"role": "assistant", "tool_calls": [call]}
    if kind == "function_call_output":
        told = {"tool_call_id": item.get("call_id"), "content": item.get("output")}
        return {"role": "tool", **told}
    return None


def _lists(value: Any) -> Any:
    """The same without the iterators that pydantic leaves for some items, which do not travel.

    Raises:
        ValidationError: what such an iterator holds is not what it should.
    """
    if isinstance(value, Mapping):
        return {name: _lists(inner) for name, inner in value.items()}
    if isinstance(value, str | bytes | BaseModel) or not isinstance(value, Iterable):
        return value
    return [_lists(inner) for inner in value]


def _fields(item: Any) -> Mapping[str, Any]:
    return item.model_dump() if isinstance(item, BaseModel) else item


def _part_types(body: ResponsesRequest) -> set[str]:
    if isinstance(body.input, str):
        return set()
    items = [_fields(item) for item in body.input]
    contents = [content for item in items for content in (item.get("content"), item.get("output"))]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return {str(part.get("type")) for part in parts if isinstance(part, Mapping)}


def _refuse_state(body: ResponsesRequest) -> None:
    for field in STATE:
        if getattr(body, field, None):
            raise NotConfigured(
                f"{field} is not supported: no response is kept here. Send the whole "
                "conversation as input",
                param=field,
            )
    items = [] if isinstance(body.input, str) else body.input
    if any(_fields(item).get("type") == "item_reference" for item in items):
        raise NotConfigured("item_reference is not supported: no item is kept here", param="input")
    for tool in body.tools:
        if tool.type not in OWN_TOOLS:
            raise NotConfigured(
                f"A tool of type {tool.type} is not supported: only functions that you run",
                param="tools",
            )
