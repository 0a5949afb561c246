"""A cascade on the request path: hold a tier's answer until its certainty is known, then let it go
or ask the next tier. What the signals are and what they decide: routing/cascade.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from serve.errors import ExpertUnavailable, Overloaded
from serve.online.account import Prices
from serve.online.apis.base import Usage
from serve.online.dispatch import Dispatcher
from serve.online.errand import Errand, Opened
from serve.online.upstreams.base import ExpertFailed, Item
from serve.protocol import Candidate
from serve.routing.cascade import Cascade, Watch

_FORMS = ("chat", "completions")
_FIELDS = ("logprobs", "top_logprobs")


@dataclass
class Climbed:
    """An answer that was accepted.

    Attributes:
        opened: with all that is here of it.
        errand: as that tier was asked.
        spent_usd: for the tiers before it.
        told: every tier that answered and its signal, for a header.
    """

    opened: Opened
    errand: Errand
    spent_usd: float
    told: str


class Climb:
    """Asks the tiers of a cascade.

    Args:
        cascade: of the settings.
        dispatcher: to ask by.
        prices: of the pool.
    """

    def __init__(self, cascade: Cascade, dispatcher: Dispatcher, prices: Prices) -> None:
        self._cascade = cascade
        self._dispatcher = dispatcher
        self._prices = prices

    def ladder(self, errand: Errand, candidates: Sequence[Candidate]) -> list[int]:
        """The tiers that may answer this request, in their order; none where it is no cascade's."""
        if errand.api.method not in _FORMS:
            return []
        quality = {candidate.expert: candidate.quality for candidate in candidates}
        tiers = self._cascade.tiers
        first = self._cascade.first_tier(quality) if quality else 0
        return [tier for tier in range(first, len(tiers)) if tiers[tier] in quality]

    async def open(
        self, ladder: Sequence[int], errand: Errand, candidates: Sequence[Candidate]
    ) -> Climbed:
        """The first answer that is certain enough; the last one in any case.

        Args:
            ladder: see there; not empty.
            errand: the request.
            candidates: those that may answer.

        Raises:
            RequestError: it is refused, or no tier answers.
        """
        known = {candidate.expert: candidate for candidate in candidates}
        asking = self._asking(errand)
        holds = self._cascade.applies(stream=bool(errand.body.stream))
        spent, told = 0.0, []
        tried: list[tuple[str, str]] = []
        for tier in ladder:
            candidate = known[self._cascade.tiers[tier]]
            last = tier == ladder[-1]
            try:
                opened = await self._dispatcher.open(
                    [(candidate.expert, candidate.seconds)], errand if last else asking
                )
            except (ExpertUnavailable, Overloaded) as error:
                tried.append((candidate.expert, str(error)))
                continue
            opened.tried = tried
            if last or not holds:
                told.append(candidate.expert)
                return Climbed(opened, errand if last else asking, spent, ", ".join(told))
            watch = self._cascade.watch(tier)
            try:
                accepted = await self._watched(opened, asking, watch)
            except ExpertFailed as error:
                tried.append((candidate.expert, str(error)))
                continue
            told.append(f"{candidate.expert} {watch.value:.3f}")
            if accepted:
                return Climbed(opened, asking, spent, ", ".join(told))
            spent += self._prices.cost(candidate.expert, _usage(opened, asking, candidate))
            await self._dispatcher.drop(opened)
        # The last tier does not answer: better an answer less certain, or another expert's.
        order = [(candidate.expert, candidate.seconds) for candidate in candidates]
        opened = await self._dispatcher.open(order, errand)
        opened.tried = [*tried, *opened.tried]
        return Climbed(opened, errand, spent, ", ".join([*told, opened.expert]))

    def for_client(self, body: Any, chat: bool) -> Callable[[dict[str, Any]], None]:
        """Takes out of an answer or an event the log-probabilities that its client did not ask."""
        asked = {name: getattr(body, name, None) for name in _FIELDS}

        def trim(answer: dict[str, Any]) -> None:
            for choice in answer.get("choices") or ():
                if choice.get("logprobs") is not None:
                    choice["logprobs"] = self._cascade.for_client(
                        choice["logprobs"], asked, chat=chat
                    )

        return trim

    def _asking(self, errand: Errand) -> Errand:
        given = {name: getattr(errand.body, name, None) for name in _FIELDS}
        asked = self._cascade.asking(given, chat=errand.api.method == "chat")
        fields = {name: value for name, value in asked.items() if value != given[name]}
        return replace(errand, body=errand.body.model_copy(update=fields))

    async def _watched(self, opened: Opened, errand: Errand, watch: Watch) -> bool:
        """Whether the answer is certain enough; what was read of it stays in `opened`."""
        for item in opened.items:
            _show(item, watch)
        ended = _ended(opened.items[-1], errand)
        while (verdict := watch.verdict(ended=ended)) is None:
            try:
                item = await self._dispatcher.advance(opened, errand)
            except StopAsyncIteration:
                ended = True
                continue
            _show(item, watch)
            ended = _ended(item, errand)
        return verdict


def _ended(item: Item, errand: Errand) -> bool:
    return isinstance(item, dict) or errand.api.end_mark in item


def _show(item: Item, watch: Watch) -> None:
    for event in _events(item):
        for choice in event.get("choices") or ():
            if choice.get("index", 0) == 0:
                watch.see(choice.get("logprobs"))


def _events(item: Item) -> list[Mapping[str, Any]]:
    if isinstance(item, dict):
        return [item]
    lines = [line for line in item.split("\n") if line.startswith("data: {")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def _usage(opened: Opened, errand: Errand, candidate: Candidate) -> Usage:
    """Its own count where the answer came to its end, else the prompt and the events so far."""
    events = [event for item in opened.items for event in _events(item)]
    counted = [usage for event in events if (usage := errand.api.usage(event)) is not None]
    return counted[-1] if counted else Usage(candidate.input_tokens, len(events))
