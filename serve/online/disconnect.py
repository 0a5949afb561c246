"""Work for a client ends when the client goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

CLIENT_GONE = 499
"""Status of an answer that nobody is left to read, as nginx logs it."""

_Result = TypeVar("_Result")


class ClientGone(Exception):
    """Nobody waits for the answer any more."""

    status = CLIENT_GONE

    def __init__(self) -> None:
        super().__init__("The client went away")


async def unless_gone(request: Request, work: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of the work, which is cancelled where the client disconnects before.

    Raises:
        ClientGone: it did.
    """
    doing = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        raise ClientGone
    finally:
        # Both end before this does: the request's `receive` has one reader at a time.
        unfinished = [task for task in (doing, gone) if not task.done()]
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
