"""Waiting for a state in place of a time, which a busy machine makes too short."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def seen(state: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Returns once it holds; the event loop runs meanwhile.

    Raises:
        TimeoutError: it never did.
    """
    async with asyncio.timeout(timeout_s):
        while not state():
            await asyncio.sleep(0.005)
