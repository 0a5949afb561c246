"""How certain an expert is of its answer, from the log-probabilities it gave with it.

mean_logprob   mean over the answer's tokens: minus the logarithm of its perplexity
min_logprob    of its least likely token
margin         first token: its likeliest text against the likeliest other one (arXiv 2405.02134).
               Where answers all open alike ("Sure,", a chain of thought) it says nothing

All are in nats and rise with certainty. Sources: arXiv 2405.02134 and 2502.04428.
"""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

AnswerSignal: TypeAlias = Literal["mean_logprob", "min_logprob", "margin"]

UNCERTAIN = -math.inf
"""Of an answer that is empty or came without log-probabilities."""

_PLAIN = str.maketrans("", "", string.punctuation)
_ARTICLES = ("a", "an", "the")


@dataclass(frozen=True)
class Token:
    """One token of an answer.

    Attributes:
        text: of the token.
        logprob: its natural logarithm of probability.
        top: the likeliest tokens of its place with theirs, in any order; may hold the token itself.
    """

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


def tokens_of(logprobs: object) -> list[Token]:
    """The tokens in `choices[i].logprobs` of OpenAI's API; of anything else, none.

    Reads the chat form (`content: [{token, logprob, top_logprobs: [{token, logprob}]}]`) and the
    completions form (`tokens`, `token_logprobs`, `top_logprobs: [{text: logprob}]`), whole or of
    one chunk. What is malformed there is left out: an endpoint's bytes must not break a request.
    """
    if not isinstance(logprobs, Mapping):
        return []
    try:
        if logprobs.get("content") is not None:
            return [_of_chat(entry) for entry in logprobs["content"]]
        return _of_completion(logprobs)
    except (TypeError, ValueError, KeyError, AttributeError):
        return []


def _of_chat(entry: Mapping[str, Any]) -> Token:
    top = tuple((str(t["token"]), float(t["logprob"])) for t in entry.get("top_logprobs") or ())
    return Token(str(entry["token"]), float(entry["logprob"]), top)


def _of_completion(logprobs: Mapping[str, Any]) -> list[Token]:
    texts, values = logprobs.get("tokens") or [], logprobs.get("token_logprobs") or []
    tops = logprobs.get("top_logprobs") or [None] * len(texts)
    return [
        Token(str(text), float(value), tuple((str(t), float(x)) for t, x in (top or {}).items()))
        for text, value, top in zip(texts, values, tops, strict=True)
        # The first token of an echoed prompt has none.
        if value is not None
    ]


def certainty(signal: AnswerSignal, tokens: Sequence[Token]) -> float:
    """How certain an answer is, in nats; -inf of an empty one, or one without what is needed."""
    values = [token.logprob for token in tokens]
    if not values or any(map(math.isnan, values)):
        return UNCERTAIN
    if signal == "mean_logprob":
        return sum(values) / len(values)
    if signal == "min_logprob":
        return min(values)
    return margin(tokens[0])


def margin(token: Token) -> float:
    """Log-probability of a place's likeliest text less that of the likeliest different one.

    The normaliser cancels, so this is the paper's difference of logits. Alternatives that say the
    same are skipped: those that contain the likeliest or lie in it, case, punctuation and articles
    aside. Where all say the same, the last one stands for what was not listed and is no likelier,
    so the margin is at least that. Without alternatives it is -inf.
    """
    ranked = sorted(dict(token.top).items(), key=lambda pair: -pair[1])
    if len(ranked) < 2 or any(math.isnan(value) for _, value in ranked):
        return UNCERTAIN
    first, best = ranked[0]
    others = [value for text, value in ranked[1:] if not same(first, text)]
    second = others[0] if others else ranked[-1][1]
    # An endpoint may say -inf of a token that cannot be.
    return best - second if math.isfinite(best) else UNCERTAIN


def same(one: str, other: str) -> bool:
    """Whether two tokens open the same answer: one's bare text lies in the other's."""
    a, b = _bare(one), _bare(other)
    return a in b or b in a


def _bare(text: str) -> str:
    words = text.lower().translate(_PLAIN).split()
    # The letter A, and a token of signs alone, are not nothing: nothing lies in every text.
    return "".join(w for w in words if w not in _ARTICLES) or "".join(words) or text
