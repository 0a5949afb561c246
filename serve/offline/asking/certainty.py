"""How certain an expert was of an answer, from the log-probabilities that came with it."""

from __future__ import annotations

import math
from typing import Any, get_args

from openai import APIStatusError
from openai.types.chat.chat_completion_chunk import Choice

from serve.routing.cascade import TOP_LOGPROBS
from serve.routing.signals import AnswerSignal, Token, certainty, tokens_of

CERTAINTIES: tuple[AnswerSignal, ...] = get_args(AnswerSignal)
"""Cells of a table, by file stem."""

WANTED: dict[str, Any] = {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
"""Fields of a chat request that ask for them."""


def tokens_in(choice: Choice) -> list[Token]:
    """The tokens of one choice of a chunk; none where it came without log-probabilities."""
    return tokens_of(choice.logprobs.model_dump()) if choice.logprobs else []


def certainties(tokens: list[Token]) -> dict[str, Any]:
    """Every signal that these tokens give, in nats; what is not known is left out."""
    values = {signal: certainty(signal, tokens) for signal in CERTAINTIES}
    return {signal: round(x, 6) for signal, x in values.items() if math.isfinite(x)}


def refuses_logprobs(error: BaseException) -> bool:
    """Whether an endpoint refused a request for its log-probabilities, in its own words."""
    return (
        isinstance(error, APIStatusError)
        and error.status_code < 500
        and ("logprob" in str(error).lower())
    )
