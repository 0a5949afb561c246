"""Asks experts prompts through an OpenAI-compatible endpoint, many at once, and times the answers.

Knows nothing of tables, files or grades: an answer is handed over as soon as it is there.

    ask_all   every job, a progress bar, one lane an expert
    _Lane     one expert's prompts: tries, gives up, asks for likelihoods
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from openai import AsyncOpenAI
from tqdm import tqdm

from serve.offline.asking.certainty import WANTED, certainties, refuses_logprobs, tokens_in
from serve.offline.asking.prompts import Prompt
from serve.offline.asking.retry import BROKEN, backoff_s, is_transient, reason
from serve.routing.signals import Token

GIVE_UP = 8
"""Prompts in a row that an expert fails before the rest of its prompts are not asked: a hanging
expert then costs tries x timeout, not that times its prompts."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible endpoint; `url` ends with /v1."""

    url: str
    api_key: str = "none"


@dataclass(frozen=True)
class Limits:
    """How hard and how long an expert is asked.

    Attributes:
        concurrency: requests under way at once, for each expert.
        max_tokens: limit of one answer.
        timeout_s: of one try, to the last token.
        tries: of one prompt, with exponential backoff and jitter between them.
        likelihood: ask for the reference's log-likelihood too.
        certainty: ask for the log-probabilities of the answer's own tokens too.
    """

    concurrency: int = 16
    max_tokens: int = 96
    timeout_s: float = 120
    tries: int = 4
    likelihood: bool = True
    certainty: bool = False


@dataclass(frozen=True)
class Answer:
    """What one expert did with one prompt: one line of the journal.

    Attributes:
        prompt: its id.
        expert: its id.
        text: the answer.
        in_tokens: of the prompt, as the endpoint counts.
        out_tokens: of the answer.
        ttft_s: seconds to the first token.
        latency_s: seconds to the last one.
        nll: mean negative log-likelihood of the reference, in nats per token.
        mean_logprob, min_logprob, margin: how certain the expert was (routing/signals.py); a
            journal of an older version has none.
        error: why there is no text; one line.
    """

    prompt: str
    expert: str
    text: str | None = None
    in_tokens: int | None = None
    out_tokens: int | None = None
    ttft_s: float | None = None
    latency_s: float | None = None
    nll: float | None = None
    mean_logprob: float | None = None
    min_logprob: float | None = None
    margin: float | None = None
    error: str | None = None


def ask_all(
    jobs: Sequence[tuple[Prompt, str]],
    endpoint: Endpoint,
    limits: Limits,
    keep: Callable[[Answer], None],
) -> None:
    """Ask every (prompt, expert), greedily; blocks until each has an answer or a reason.

    Args:
        jobs: each expert's prompts are asked in this order, experts side by side.
        endpoint: serves every expert under its id.
        limits: see Limits.
        keep: called in this thread with each answer as it comes.
    """
    asyncio.run(_ask_all(jobs, endpoint, limits, keep))


async def _ask_all(
    jobs: Sequence[tuple[Prompt, str]],
    endpoint: Endpoint,
    limits: Limits,
    keep: Callable[[Answer], None],
) -> None:
    prompts: dict[str, deque[Prompt]] = {}
    for prompt, expert in jobs:
        prompts.setdefault(expert, deque()).append(prompt)
    with tqdm(total=len(jobs), desc="Asking", unit="answer") as bar:
        failed = 0

        def done(answer: Answer) -> None:
            nonlocal failed
            keep(answer)
            if answer.error is not None:
                failed += 1
                bar.set_postfix(failed=failed, refresh=False)
            bar.update()

        async with (
            AsyncOpenAI(
                base_url=endpoint.url,
                api_key=endpoint.api_key,
                max_retries=0,
                timeout=limits.timeout_s,
            ) as client,
            asyncio.TaskGroup() as group,
        ):
            for expert, waiting in prompts.items():
                lane = _Lane(expert, waiting, client, limits, done)
                for _ in range(min(limits.concurrency, len(waiting))):
                    group.create_task(lane.work())


class _Lane:
    """One expert's prompts; every worker takes the next one until none is left."""

    def __init__(
        self,
        expert: str,
        waiting: deque[Prompt],
        client: AsyncOpenAI,
        limits: Limits,
        done: Callable[[Answer], None],
    ) -> None:
        self._expert, self._waiting, self._done = expert, waiting, done
        self._client, self._limits = client, limits
        self._failures = 0
        self._last_failure = ""
        self._without_likelihood = 0
        self._certainty = limits.certainty

    async def work(self) -> None:
        """One request at a time."""
        while self._waiting:
            self._done(await self._answer(self._waiting.popleft()))

    @property
    def _given_up(self) -> bool:
        return self._failures >= GIVE_UP

    async def _answer(self, prompt: Prompt) -> Answer:
        if self._given_up:
            return self._failed(prompt, f"given up after {GIVE_UP} in a row: {self._last_failure}")
        try:
            answer = await self._streamed(prompt)
        except BROKEN as error:
            why = reason(error, self._limits.timeout_s)
            # A refusal is about this prompt and says nothing of the next one.
            if is_transient(error):
                self._failures += 1
                self._last_failure = why
            return self._failed(prompt, why)
        self._failures = 0
        return await self._with_likelihood(prompt, answer)

    async def _streamed(self, prompt: Prompt) -> Answer:
        asked = self._certainty
        try:
            return await self._tried(lambda: self._stream(prompt))
        except BROKEN as error:
            if not (asked and refuses_logprobs(error)):
                raise
        # An endpoint that gives no log-probabilities gives the answer alone.
        self._certainty = False
        return await self._tried(lambda: self._stream(prompt))

    def _failed(self, prompt: Prompt, why: str) -> Answer:
        return Answer(prompt.id, self._expert, error=why)

    async def _tried(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        number = 0
        while True:
            number += 1
            try:
                async with asyncio.timeout(self._limits.timeout_s):
                    return await ask()
            except BROKEN as error:
                last = number >= self._limits.tries or self._given_up
                if last or not is_transient(error):
                    raise
                wait = backoff_s(number, error)
            await asyncio.sleep(wait)

    async def _stream(self, prompt: Prompt) -> Answer:
        started = time.perf_counter()
        parts: list[str] = []
        first: float | None = None
        finished, usage = False, None
        tokens: list[Token] = []
        async with await self._client.chat.completions.create(
            model=self._expert,
            messages=cast(Any, list(prompt.messages)),
            temperature=0,
            max_tokens=self._limits.max_tokens,
            stream=True,
            stream_options={"include_usage": True},
            **(WANTED if self._certainty else {}),
        ) as stream:
            async for chunk in stream:
                usage = chunk.usage or usage
                for choice in chunk.choices:
                    tokens += tokens_in(choice)
                    if choice.delta.content:
                        first = first or time.perf_counter()
                        parts.append(choice.delta.content)
                    finished = finished or choice.finish_reason is not None
        ended = time.perf_counter()
        if not finished:
            raise ValueError("it ended before the answer did")
        return Answer(
            prompt.id,
            self._expert,
            # JSON can spell half of a surrogate pair; Parquet cannot keep one.
            text="".join(parts).strip().encode(errors="replace").decode(),
            in_tokens=int(usage.prompt_tokens) if usage else None,
            out_tokens=int(usage.completion_tokens) if usage else None,
            ttft_s=round(first - started, 4) if first else None,
            latency_s=round(ended - started, 4),
            **certainties(tokens),
        )

    async def _with_likelihood(self, prompt: Prompt, answer: Answer) -> Answer:
        reference, in_tokens = prompt.reference, answer.in_tokens
        wanted = self._limits.likelihood and self._without_likelihood < GIVE_UP
        if not (wanted and reference and in_tokens):
            return answer
        try:
            logprobs = await self._tried(lambda: self._prompt_logprobs(prompt, reference))
            # The request for the answer told how long the prompt is without the reference.
            nll = _mean_nll(logprobs[in_tokens:])
        except BROKEN:
            # An endpoint that has no prompt logprobs is soon not asked for them any more.
            self._without_likelihood += 1
            return answer
        self._without_likelihood = 0
        return Answer(**{**vars(answer), "nll": nll})

    async def _prompt_logprobs(self, prompt: Prompt, reference: str) -> Any:
        """A list by token of prompt and reference, or whatever the endpoint gives in its place."""
        said = {"role": "assistant", "content": reference}
        answer = await self._client.chat.completions.create(
            model=self._expert,
            messages=cast(Any, [*prompt.messages, said]),
            temperature=0,
            max_tokens=1,
            extra_body={
                "add_generation_prompt": False,
                "continue_final_message": True,
                "prompt_logprobs": 0,
            },
        )
        return (answer.model_extra or {}).get("prompt_logprobs")


def _mean_nll(logprobs: Sequence[dict[str, dict[str, float]]]) -> float:
    """Of the token itself, which vLLM puts first; ValueError where there is none."""
    # An empty dict raises IndexError here; StopIteration would not pass through a coroutine.
    values = [list(token.values())[0]["logprob"] for token in logprobs]  # noqa: RUF015
    if not values:
        raise ValueError("no token of the reference")
    return round(-sum(values) / len(values), 6)
