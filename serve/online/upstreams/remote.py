"""An expert elsewhere: any OpenAI-compatible endpoint, by HTTP.

What it sends is not trusted: an event must be whole and JSON before a client sees any of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp

from serve.config import ExpertSettings
from serve.errors import InvalidRequest, RequestError, SettingsError
from serve.online.upstreams.base import Call, ExpertFailed, Item

PROBE_S = 5.0
_MAX_EVENT = 4 * 2**20
_COUNTS = ("prompt_tokens", "completion_tokens")
_FAULT_OF_THE_REQUEST = (400, 413, 415, 422)
"""Any other error, a refused key or a limit of ours there among them, another expert can mend."""


class RemoteExpert:
    """Asks over a pool of connections.

    Raises:
        SettingsError: the environment variable of its key is not set.
    """

    asleep = False

    def __init__(self, settings: ExpertSettings) -> None:
        self._id = settings.id
        self._there = settings.there
        self._session: aiohttp.ClientSession | None = None
        self._headers = {"content-type": "application/json"}
        name = self._there.api_key_env
        if name is not None:
            if name not in os.environ:
                raise SettingsError(
                    f"experts.{settings.id}.remote.api_key_env: {name} is not set in the "
                    "environment of the ingress"
                )
            self._headers["authorization"] = f"Bearer {os.environ[name]}"

    async def ask(self, call: Call) -> AsyncGenerator[Item, None]:
        """See base.Upstream."""
        body = call.body.model_dump(mode="json", exclude_unset=True, exclude_none=True)
        body["model"] = self._there.model or self._id
        try:
            async with self._http().post(
                self._there.url.rstrip("/") + call.api.path,
                json=body,
                headers={**self._headers, **call.trace},
            ) as answer:
                if answer.status != 200:
                    raise await _refusal(answer)
                if body.get("stream"):
                    async for event in _events(answer.content):
                        yield self._named(event)
                else:
                    yield self._whole(await answer.read())
        except (aiohttp.ClientError, OSError) as error:
            fatal = isinstance(error, aiohttp.ClientConnectorError)
            raise ExpertFailed(f"{type(error).__name__}: {error}", fatal=fatal) from error

    async def alive(self) -> bool:
        """Not known before it is asked."""
        return True

    async def survives(self) -> bool:
        """It has one address, and nothing answers there."""
        return False

    async def healthy(self) -> bool:
        """Whether something answers there at all: its models, or that we may not see them."""
        url = self._there.url.rstrip("/") + "/models"
        timeout = aiohttp.ClientTimeout(total=PROBE_S)
        try:
            async with self._http().get(url, headers=self._headers, timeout=timeout) as answer:
                return answer.status < 500
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    def _http(self) -> aiohttp.ClientSession:
        """Made on the event loop that uses it."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, connect=self._there.connect_s)
            self._session = aiohttp.ClientSession(
                timeout=timeout, connector=aiohttp.TCPConnector(limit=0)
            )
        return self._session

    def _whole(self, raw: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(raw)
        except ValueError as error:
            raise ExpertFailed("answered something that is not JSON") from error
        if not isinstance(answer, dict):
            raise ExpertFailed("answered JSON that is no object")
        _check(answer)
        return {**answer, "model": self._id}

    def _named(self, event: str) -> str:
        """One event, checked, under the name that clients know the expert by."""
        data = event.removeprefix("data:").strip()
        if data == "[DONE]":
            return "data: [DONE]\n\n"
        try:
            answer = json.loads(data)
        except ValueError as error:
            raise ExpertFailed("streamed an event that is not JSON") from error
        if not isinstance(answer, dict):
            raise ExpertFailed("streamed an event that is not an object")
        if "error" in answer:
            raise ExpertFailed(f"streamed an error: {_message(answer)}")
        _check(answer)
        answer["model"] = self._id
        return "data: " + json.dumps(answer, separators=(",", ":")) + "\n\n"


def _check(answer: dict[str, Any]) -> None:
    """What is read of an answer or an event has the form that it should.

    Raises:
        ExpertFailed: it has not.
    """
    choices, usage = answer.get("choices"), answer.get("usage")
    if not isinstance(choices, list):
        raise ExpertFailed("gave no choices")
    said = [
        choice.get("delta", choice.get("message")) if isinstance(choice, dict) else choice
        for choice in choices
    ]
    if not all(part is None or isinstance(part, dict) for part in said):
        raise ExpertFailed("gave choices of another form")
    counts = [usage.get(name) for name in _COUNTS] if isinstance(usage, dict) else [usage]
    if not all(count is None or isinstance(count, int) for count in counts):
        raise ExpertFailed("gave a usage of another form")


async def _events(content: aiohttp.StreamReader) -> AsyncGenerator[str, None]:
    """The `data:` of whole events; a stream may cut them anywhere."""
    waiting = b""
    async for chunk in content.iter_any():
        waiting += chunk
        if len(waiting) > _MAX_EVENT:
            raise ExpertFailed("streamed an event without end")
        *events, waiting = waiting.replace(b"\r\n", b"\n").split(b"\n\n")
        for event in events:
            for line in event.decode("utf-8", "replace").split("\n"):
                if line.startswith("data:"):
                    yield line
    if waiting.strip():
        raise ExpertFailed("ended its stream within an event")


async def _refusal(answer: aiohttp.ClientResponse) -> Exception:
    try:
        said = _message(json.loads(await answer.read()))
    except ValueError:
        said = answer.reason or "no reason given"
    if answer.status not in _FAULT_OF_THE_REQUEST:
        return ExpertFailed(f"answered {answer.status}: {said}")
    refusal: RequestError = InvalidRequest(said)
    refusal.status = answer.status
    return refusal


def _message(answer: Any) -> str:
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    if isinstance(error, dict):
        return str(error.get("message") or error)[:500]
    return str(error)[:500]
