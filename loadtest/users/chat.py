"""One streamed chat of any OpenAI-compatible endpoint, timed token by token.

TTFT runs from sending to the first content token, E2E to the end of the stream. Nothing of the
endpoint is needed but the stream; what pointsman says besides (who answered, what it cost, how long
the router took) is kept where it is there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import cast

from openai import Stream
from openai.resources.chat import Completions
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from loadtest.report.samples import Sample
from loadtest.users.workload import Question
from serve.config import Price
from serve.offline.asking.retry import BROKEN, reason

TIMEOUT_S = 60.0
"""Longest silence of an endpoint."""


class Exchange:
    """One request and its answer. `sample()` tells what came of it, whenever it is asked."""

    def __init__(
        self,
        question: Question,
        prices: Mapping[str, Price],
        *,
        sent_s: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Nothing is sent yet.

        Args:
            question: to ask.
            prices: by model, for endpoints that do not say what an answer cost.
            sent_s: seconds since the load began.
            clock: in seconds.
        """
        self.text = ""
        self._question, self._prices, self._clock = question, prices, clock
        self._sent_s, self._began = sent_s, clock()
        self._ended: float | None = None
        self._tokens_at: list[float] = []
        self._headers: Mapping[str, str] = {}
        self._model = ""
        self._finished = False
        self._usage: CompletionUsage | None = None
        self._error: str | None = "cut off: it had not ended when the load did"

    def run(self, chats: Completions, model: str) -> None:
        """Ask, and read the answer to its end; what the endpoint does wrong is the sample's."""
        self._model = model
        try:
            self._read(self._send(chats, model))
            self._error = None if self._finished else "broken stream: no finish_reason"
        except BROKEN as error:
            self._error = reason(error, TIMEOUT_S)
        self._ended = self._clock()

    def sample(self) -> Sample:
        """What came of it so far."""
        marks, usage = self._tokens_at, self._usage
        expert = self._headers.get("x-pointsman-expert", self._model)
        decision = self._headers.get("x-pointsman-decision-ms")
        return Sample(
            sent_s=self._sent_s,
            e2e_s=(self._ended or self._clock()) - self._began,
            ttft_s=marks[0] - self._began if marks else None,
            gaps_s=[later - earlier for earlier, later in pairwise(marks)],
            output_tokens=usage.completion_tokens if usage else len(marks),
            from_usage=usage is not None,
            expert=expert,
            task=self._question.task,
            turn=self._question.turn if self._question.session else None,
            decision_ms=float(decision) if decision else None,
            cost_usd=self._cost_usd(expert),
            error=self._error,
        )

    def _send(self, chats: Completions, model: str) -> Stream[ChatCompletionChunk]:
        session = self._question.session
        self._began = self._clock()
        return chats.create(
            model=model,
            messages=cast(list[ChatCompletionMessageParam], self._question.messages),
            max_tokens=self._question.max_tokens,
            stream=True,
            stream_options={"include_usage": True},
            extra_headers={"x-session-id": session} if session else None,
        )

    def _read(self, stream: Stream[ChatCompletionChunk]) -> None:
        self._headers = stream.response.headers
        for chunk in stream:
            self._model = chunk.model or self._model
            self._usage = chunk.usage or self._usage
            for choice in chunk.choices:
                if choice.delta.content:
                    self._tokens_at.append(self._clock())
                    self.text += choice.delta.content
                self._finished |= choice.finish_reason is not None

    def _cost_usd(self, expert: str) -> float | None:
        if self._usage is None:
            return None
        said = (self._usage.model_extra or {}).get("cost_usd")
        if said is not None:
            return float(said)
        price = self._prices.get(expert)
        if price is None:
            return None
        tokens = self._usage
        return (price.input * tokens.prompt_tokens + price.output * tokens.completion_tokens) / 1e6
