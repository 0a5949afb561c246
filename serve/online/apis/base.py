"""What the request path needs to know of an endpoint: how to read its body, and its answers.

A streamed answer is server-sent events as text, each item one or more whole events.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from serve.config import ExpertSettings
from serve.errors import RequestError
from serve.protocol import Query
from serve.terms import Needs


class Usage(NamedTuple):
    """Tokens of one answer, as its engine counted them."""

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Bill:
    """Dollars for one answer, and what other experts would have taken for as many tokens.

    Attributes:
        cost_usd: of the expert that answered, and of those that were asked before it.
        priciest_usd: of the priciest expert.
        best_single_usd: of the best single expert, by the router's own record.
    """

    cost_usd: float
    priciest_usd: float
    best_single_usd: float

    def fields(self) -> dict[str, float]:
        """What `usage` gets beside its tokens."""
        return {
            "cost_usd": self.cost_usd,
            "cost_usd_priciest": self.priciest_usd,
            "cost_usd_best_single": self.best_single_usd,
        }


class Api(Protocol):
    """One endpoint that generates. Without state: one object serves every request."""

    @property
    def method(self) -> str:
        """The method of an expert's deployment that answers; takes (body, raw request info)."""
        ...

    @property
    def path(self) -> str:
        """Where an OpenAI-compatible server has this endpoint, after its base URL with /v1."""
        ...

    @property
    def usage_mark(self) -> str:
        """A text that stands in every streamed event with usage, and in few others."""
        ...

    @property
    def end_mark(self) -> str:
        """A text that stands in the last event of a whole stream, and in no other."""
        ...

    def begun(self, text: str) -> bool:
        """Whether these events say anything of the answer; until one does, it can start anew."""
        ...

    def query(self, body: Any) -> Query:
        """What the router reads.

        Raises:
            InvalidRequest: it cannot be read.
        """
        ...

    def turns(self, body: Any) -> list[dict[str, Any]]:
        """The conversation as OpenAI chat messages, oldest first; none where it has no turns."""
        ...

    def needs(self, body: Any) -> Needs:
        """What an expert must be able to do to answer."""
        ...

    def address(self, body: Any, expert: ExpertSettings) -> Any:
        """A copy of the body for that expert: name, defaults, a stream that ends in its usage."""
        ...

    def usage(self, answer: Mapping[str, Any]) -> Usage | None:
        """Of a whole answer, or of one streamed event; None where it has none."""
        ...

    def billed(self, answer: dict[str, Any], bill: Bill) -> dict[str, Any]:
        """The same answer or event, its usage with bill.fields()."""
        ...

    def asked_for(self, body: Any, event: Mapping[str, Any]) -> bool:
        """Whether the client wants this event: one with usage alone may be ours."""
        ...

    def failure(self, error: RequestError) -> str:
        """The events that end a stream that broke off."""
        ...


def change_events(text: str, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> str:
    """Server-sent events with every JSON `data:` changed; an event changed to None is left out."""
    kept = []
    for event in text.split("\n\n"):
        lines = event.split("\n")
        for i, line in enumerate(lines):
            if line.startswith("data: {"):
                changed = change(json.loads(line[6:]))
                if changed is None:
                    lines = []
                    break
                lines[i] = "data: " + json.dumps(changed, separators=(",", ":"))
        if lines != [""] and lines:
            kept.append("\n".join(lines) + "\n\n")
    return "".join(kept)
