"""On what terms an expert may answer a request: what one asks for and what the other can do.

Knows nothing of text, vectors or the request path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias


@dataclass(frozen=True)
class Abilities:
    """What an expert can take and do.

    Attributes:
        context: tokens of prompt and answer together; None: not known, so no limit.
        images: in a prompt.
        audio: in a prompt.
        tools: calls functions.
        structured: keeps to a response_format.
        logprobs: gives token log-probabilities.
        chat: generates at all; an expert that only embeds does not.
    """

    context: int | None = None
    images: bool = False
    audio: bool = False
    tools: bool = True
    structured: bool = True
    logprobs: bool = True
    chat: bool = True


@dataclass(frozen=True)
class Needs:
    """What an expert must be able to do to answer one request.

    Attributes:
        images: the prompt has some.
        audio: the prompt has some.
        tools: functions may be called.
        structured: the answer must have a form (response_format).
        logprobs: token log-probabilities are asked for.
        here: only an expert of this application has the endpoint.
        extra_tokens: of the prompt beside its text, such as the schemas of tools.
    """

    images: bool = False
    audio: bool = False
    tools: bool = False
    structured: bool = False
    logprobs: bool = False
    here: bool = False
    extra_tokens: int = 0


@dataclass(frozen=True)
class Wish:
    """What one request asks of its routing, beside the settings.

    Attributes:
        tradeoff: 0 is quality alone, 1 cost alone; None: the settings' objective.
        fastest: the fastest expert within the declared quality loss.
        max_cost_usd: expected dollars of the answer, at most.
        max_latency_s: seconds until the answer is whole, at most.
        allow: expert ids; None: all.
        deny: expert ids.
        private: only experts that run here.
    """

    tradeoff: float | None = None
    fastest: bool = False
    max_cost_usd: float | None = None
    max_latency_s: float | None = None
    allow: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()
    private: bool = False


@dataclass(frozen=True)
class Status:
    """One expert at this moment, as one ingress replica knows it.

    Attributes:
        first_s: seconds to the first token, at the load of now; 0 where nothing was measured.
        token_s: and for every token after it.
        down: why it cannot answer now; None: it can.
        fill: share of its queue that is taken, 0..1 and above.
        wake_s: seconds until it has a replica, where it sleeps; 0: it has one.
    """

    first_s: float = 0.0
    token_s: float = 0.0
    down: str | None = None
    fill: float = 0.0
    wake_s: float = 0.0

    def seconds(self, output_tokens: float) -> float:
        """Expected time of an answer of that length."""
        return self.wake_s + self.first_s + self.token_s * output_tokens


Snapshot: TypeAlias = Mapping[str, Status]
"""Expert id -> its status; one that is missing was never asked."""


class Bar(NamedTuple):
    """Why an expert is no candidate for one request.

    Attributes:
        cause: `request` where the request itself must change, `full` or `late` where waiting
            helps, `asleep` where it helps once the expert was woken, `down` where the expert must
            come back.
        reason: for a person.
        param: the request's field at fault, or None.
    """

    cause: Literal["request", "full", "late", "asleep", "down"]
    reason: str
    param: str | None = None
