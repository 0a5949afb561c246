"""Whether every expert has answered once: then a start is over."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from ray.serve.llm.openai_api_models import CompletionRequest

from serve.online.upstreams.base import Upstream
from serve.online.upstreams.local import LocalExpert


class Readiness:
    """Of one ingress replica.

    Args:
        upstreams: expert id -> how it is reached.
        local: those of them that run here.
    """

    def __init__(self, upstreams: Mapping[str, Upstream], local: Mapping[str, LocalExpert]) -> None:
        self._upstreams = upstreams
        self._local = local
        self._warm: set[str] = set()

    async def state(self) -> dict[str, bool]:
        """By expert: it sleeps, or is healthy now and, where it is here, gave a token once."""
        answers = await asyncio.gather(*(self._answers(name) for name in self._upstreams))
        return dict(zip(self._upstreams, answers, strict=True))

    async def _answers(self, name: str) -> bool:
        if name in self._local and await self._local[name].sleeping():
            return True
        if not await self._upstreams[name].healthy():
            return False
        if name in self._local and name not in self._warm:
            # An engine's first answer is slow: no client should be the one to wait for it.
            first = CompletionRequest(model=name, prompt="Hello", max_tokens=1)
            if not await self._local[name].warm_up(first):
                return False
            self._warm.add(name)
        return True
