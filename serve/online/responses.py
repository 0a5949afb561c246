"""A streamed response that says when it is over, and a header's value."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send


class Streamed(StreamingResponse):
    """Server-sent events; says when the last byte is out, or nobody reads them any more."""

    def __init__(
        self,
        stream: AsyncGenerator[str, None],
        over: Callable[[], Awaitable[None]],
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(stream, media_type="text/event-stream", headers=headers)
        self._stream = stream
        self._over = over

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._stream.aclose()
            await self._over()


def header_line(tried: Sequence[tuple[str, str]]) -> str:
    """A header's value: Latin-1, one line, not too long."""
    text = "; ".join(f"{name}: {' '.join(reason.split())}" for name, reason in tried)
    return text[:500].encode("latin-1", "replace").decode("latin-1")
