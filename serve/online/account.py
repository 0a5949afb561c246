"""What one answer took and cost, read off it as it goes by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from serve.errors import RequestError
from serve.online.apis.base import Api, Bill, Usage
from serve.online.conversation import mark_calls
from serve.protocol import Expert


class Prices:
    """What the pool would take for any number of tokens.

    Args:
        experts: the pool.
    """

    def __init__(self, experts: Sequence[Expert]) -> None:
        self._experts = {expert.id: expert for expert in experts}

    def cost(self, expert: str, usage: Usage) -> float:
        """Dollars of one expert for that many tokens."""
        return self._experts[expert].cost_usd(*usage)

    def bill(self, expert: str, usage: Usage, best_single: str, spent_before: float = 0.0) -> Bill:
        """Of one answer.

        Args:
            expert: who answered.
            usage: tokens.
            best_single: the best single expert.
            spent_before: dollars for experts that were asked before it.
        """
        dear = max(self.cost(name, usage) for name in self._experts)
        own = self.cost(expert, usage) + spent_before
        return Bill(own, dear, self.cost(best_single, usage))


class Account:
    """The account of one answer; sees its events as they go by.

    Args:
        api: the endpoint.
        body: the client's.
        expert: who answers.
        prices: of the pool.
        best_single: the best single expert.
        spent_before: dollars for experts that were asked before this one.
        explained: goes into the answer under `routing`; None: nothing does.
        trim: takes out of every event what the client did not ask for.
        on_close: told once, when there is no more to come.

    Attributes:
        broke: what ended the stream before its end.
    """

    def __init__(
        self,
        api: Api,
        body: Any,
        expert: str,
        prices: Prices,
        best_single: str,
        *,
        spent_before: float = 0.0,
        explained: dict[str, Any] | None = None,
        trim: Callable[[dict[str, Any]], None] | None = None,
        on_close: Callable[[Account], None] | None = None,
    ) -> None:
        self._api = api
        self._body = body
        self._prices = prices
        self._best_single = best_single
        self._spent_before = spent_before
        self._explained = explained
        self._trim = trim
        self._on_close = on_close
        self.expert = expert
        self.events = 0
        self.usage: Usage | None = None
        self.broke: RequestError | None = None
        self.bill: Bill | None = None

    @property
    def marks(self) -> tuple[str, ...]:
        """Texts one of which stands in every event that must be seen."""
        seen = (self._api.usage_mark, '"tool_', '"call_id"')
        return seen if self._trim is None else (*seen, '"logprobs":{')

    def first(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """The first event of a stream: as any other, with the explanation in it."""
        seen = self.seen(event)
        if seen is not None and self._explained is not None:
            seen = {**seen, "routing": self._explained}
            self._explained = None
        return seen

    def seen(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """One event on its way to the client, as the client gets it; None: it does not."""
        usage = self._api.usage(event)
        if usage is not None:
            self.usage = usage
            self.bill = self.billed(usage)
            event = self._api.billed(event, self.bill)
        mark_calls(event, self.expert)
        if self._trim is not None:
            self._trim(event)
        return event if self._api.asked_for(self._body, event) else None

    def whole(self, answer: dict[str, Any]) -> dict[str, Any]:
        """A whole answer, as the client gets it."""
        return self.first(answer) or answer

    @property
    def explains(self) -> bool:
        """Whether an explanation has yet to go out."""
        return self._explained is not None

    def billed(self, usage: Usage) -> Bill:
        """The bill for that many tokens."""
        return self._prices.bill(self.expert, usage, self._best_single, self._spent_before)

    def taken(self, input_tokens: int) -> Usage:
        """What it took: its own count, else the prompt as estimated and the events so far."""
        return self.usage or Usage(input_tokens, self.events)

    def close(self) -> None:
        """No more of this answer will come."""
        if self._on_close is not None:
            self._on_close(self)
            self._on_close = None
