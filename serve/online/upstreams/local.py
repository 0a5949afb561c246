"""An expert of this application: the handle of its Ray Serve LLM deployment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

import ray.exceptions
from grpc import RpcError
from ray.serve.exceptions import DeploymentUnavailableError, ReplicaUnavailableError
from ray.serve.handle import DeploymentHandle
from ray.serve.llm.openai_api_models import CompletionRequest
from vllm.v1.engine.exceptions import EngineDeadError

from serve.errors import RequestError
from serve.online.serve_llm import ErrorInfo, ErrorResponse, RawRequestInfo
from serve.online.surface import error_from_engine
from serve.online.upstreams.base import Call, ExpertFailed, Item

PROBE_S = 5.0
SURVIVES_S = 2.0
"""The client of a replica that died waits for this."""
TOLD_S = 3.0
"""A handle learns which replicas there are only once it is used, and takes a moment."""
_GONE = (
    ray.exceptions.RayActorError,
    RpcError,
    DeploymentUnavailableError,
    ReplicaUnavailableError,
)
_KEYS = ("authorization", "x-api-key")
_ERROR = 'data: {"error"'


class LocalExpert:
    """Asks through the handle; the request router of the deployment chooses the replica.

    Args:
        handle: of the deployment.
        sleeps: it may have no replica, until a request wakes one: Serve itself keeps requests until
            there is one, and tells its autoscaler of them.
    """

    def __init__(self, handle: DeploymentHandle, *, sleeps: bool = False) -> None:
        self.sleeps = self.asleep = sleeps
        self._handle = handle.options(stream=True)
        self._plain = handle
        self._methods: dict[str, DeploymentHandle] = {}
        self._told = sleeps

    async def ask(self, call: Call) -> AsyncGenerator[Item, None]:
        """See base.Upstream."""
        method = self._method(call.api.method)
        if call.session:
            method = method.options(session_id=call.session)
        response = method.remote(call.body, _info(call))
        try:
            async for item in response:
                self.asleep = False
                yield _item(item, call)
        except (RequestError, ExpertFailed):
            raise
        # A process that is gone would be gone for the next request as well.
        except _GONE as error:
            raise ExpertFailed("lost its replica", fatal=True) from error
        except EngineDeadError as error:
            raise ExpertFailed("lost its engine", fatal=True) from error
        except Exception as error:  # Serve's gRPC hands on whatever the replica raised
            raise ExpertFailed(_last_line(error)) from error
        finally:
            response.cancel()

    async def alive(self) -> bool:
        """Whether a replica is there whose engine has not died, or none needs to be.

        Serve itself keeps requests waiting until there is one, for as long as a start takes.
        """
        try:
            async with asyncio.timeout(PROBE_S):
                said = await self._all_say()
        except TimeoutError:
            return True
        except DeploymentUnavailableError:
            self.asleep = self.sleeps
            return self.sleeps
        if self.sleeps and all(isinstance(one, _GONE) for one in said):
            return True  # its last replica is being taken away
        alive = not all(isinstance(one, Exception) for one in said)
        self.asleep = self.asleep and not alive
        return alive

    async def _all_say(self) -> list[Any]:
        """What each replica says of its health, or its exception."""
        began = time.monotonic()
        while True:
            try:
                said = await self._plain.broadcast("check_health").results_async(
                    return_exceptions=True
                )
            except DeploymentUnavailableError:
                if self._told or time.monotonic() - began > TOLD_S:
                    raise
                await asyncio.sleep(0.1)
            else:
                self._told = True
                return list(said)

    async def sleeping(self) -> bool:
        """Whether it has no replica and is to have none now; does not wake it."""
        return self.sleeps and await self.alive() and self.asleep

    async def survives(self) -> bool:
        """Whether one of its replicas says that it is well."""
        try:
            async with asyncio.timeout(SURVIVES_S):
                return None in await self._all_say()
        except (TimeoutError, DeploymentUnavailableError):
            return False

    async def healthy(self) -> bool:
        """Whether a replica is there and its engine lives."""
        try:
            async with asyncio.timeout(PROBE_S):
                await self._plain.check_health.remote()
        except Exception:  # the probe's own limit, or anything that the replica raised
            return False
        return True

    async def warm_up(self, first: CompletionRequest) -> bool:
        """Whether it gave the answer to a first, small request."""
        try:
            async for _ in self._method("completions").remote(first):
                pass
        except Exception:  # whatever the replica raised: it is asked again
            return False
        return True

    def _method(self, name: str) -> DeploymentHandle:
        """A handle for each method, kept: Ray makes a new one at every attribute."""
        if name not in self._methods:
            self._methods[name] = getattr(self._handle, name)
        return self._methods[name]


def _info(call: Call) -> RawRequestInfo:
    """The client's headers but its key, which is nothing for an engine to know.

    vLLM hangs its own spans below the trace context; where we trace, that is our call's.
    """
    left_out = (*_KEYS, "traceparent", "tracestate") if call.trace else _KEYS
    headers = call.request.headers.items()
    kept = {name: value for name, value in headers if name not in left_out}
    return RawRequestInfo({**kept, **call.trace})


def _item(item: Any, call: Call) -> Item:
    if isinstance(item, list):
        return "".join(str(_item(part, call)) for part in item)
    if isinstance(item, ErrorResponse):
        _raise(item.error, call)
    if isinstance(item, str):
        if item.startswith(_ERROR):
            event = item.removeprefix("data: ").split("\n", 1)[0]
            _raise(ErrorResponse.model_validate_json(event).error, call)
        return item
    answer: dict[str, Any] = item.model_dump()
    return answer


def _raise(error: ErrorInfo, call: Call) -> None:
    if error.code >= 500:
        raise ExpertFailed(error.message or error.type, spoke=True)
    raise error_from_engine(error, call.body)


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [f"raised {type(error).__name__}"])[-1]
