"""The path of a request: read its wish, decide, dispatch, bill.

Every endpoint that generates takes it; what is theirs is in apis/.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serve.config import Settings
from serve.errors import Overloaded
from serve.online.access import Access, Caller
from serve.online.account import Account, Prices
from serve.online.apis.base import Api
from serve.online.batching import BatchedRouter
from serve.online.books import Books
from serve.online.candidates import asleep_and_late, named_expert, open_candidates
from serve.online.climb import Climb
from serve.online.conversation import Memory
from serve.online.disconnect import CLIENT_GONE, ClientGone, unless_gone
from serve.online.dispatch import Dispatcher
from serve.online.errand import Errand, Opened
from serve.online.fleet import Fleet
from serve.online.ledger import Ledger
from serve.online.reading import Read, Reader, queue_shares
from serve.online.record import decision_record
from serve.online.responses import Streamed, header_line
from serve.online.scaling import Rate
from serve.online.stages import OWN, Stages
from serve.online.story import Story
from serve.online.telemetry import (
    HEADER_CASCADE,
    HEADER_DECISION_MS,
    HEADER_EXPERT,
    HEADER_FALLBACK,
    HEADER_ROUTER,
    Telemetry,
)
from serve.online.wish import is_routed
from serve.protocol import Expert, Query
from serve.routing.rollout import Ruling, ticket

logger = logging.getLogger("ray.serve")


class Gateway:
    """The request path of one ingress replica.

    Args:
        settings: of the application.
        experts: those that generate, with what they can do.
        router: decides.
        fleet: the experts now.
        door: who may come in.
        ledger: what they may still take.
        books: what is written down of requests.
        telemetry: what is counted of decisions and faults.

    Attributes:
        decisions: as they come.
    """

    def __init__(
        self,
        settings: Settings,
        experts: Sequence[Expert],
        router: BatchedRouter,
        fleet: Fleet,
        door: Access,
        ledger: Ledger,
        books: Books,
        telemetry: Telemetry,
    ) -> None:
        self._limits = settings.limits
        self._experts = {expert.id: expert for expert in experts}
        self._router = router
        self._fleet = fleet
        self._door = door
        self._ledger = ledger
        self._books = books
        self._telemetry = telemetry
        self._dispatcher = Dispatcher(fleet, settings.limits, telemetry)
        self._memory = Memory(list(self._experts))
        self._prices = Prices(experts)
        self._reader = Reader(
            settings.router.preferences,
            settings.router.private_tags,
            settings.limits.prompt_characters,
            self._memory,
            queue_shares(door.priorities),
        )
        cascade = settings.router.cascade
        self._climb = (
            None if cascade is None else Climb(cascade.as_cascade(), self._dispatcher, self._prices)
        )
        self._under_way = 0
        self.decisions = Rate()

    def caller(self, request: Request) -> Caller:
        """Who asks.

        Raises:
            RequestError: nobody who may.
        """
        connection = request.client.host if request.client else None
        return self._door.identify(request.headers, connection)

    async def enter(self, request: Request) -> Caller:
        """Who asks, and one request counted.

        Raises:
            RequestError: nobody who may, or a limit is used up.
        """
        caller = self.caller(request)
        await self._ledger.admit(caller)
        return caller

    def admin(self, request: Request) -> None:
        """Pass an admin.

        Raises:
            RequestError: it is none.
        """
        self._door.require_admin(self.caller(request))

    async def answer(self, api: Api, body: Any, request: Request) -> Response:
        """The answer to one request, from its body to the last byte.

        Raises:
            RequestError: it gets none.
        """
        story = self._books.arrived(api, body, request)
        try:
            caller = self.caller(request)
            self._admit()
        except Exception as error:
            self._books.refused(story, error)
            raise
        response = None
        try:
            limits = await self._ledger.admit(caller)
            response = await unless_gone(request, self._answer(story, caller))
            response.headers.update(limits)
        except ClientGone as gone:
            self._books.left(story, gone)
            return Response(status_code=CLIENT_GONE)
        except Exception as error:
            self._books.refused(story, error)
            raise
        finally:
            if not isinstance(response, Streamed):
                self._under_way -= 1
        return response

    async def decide(self, query: Query, request_id: str, stages: Stages) -> tuple[Ruling, float]:
        """A ruling, and the seconds it took; `stages` begins, and is told which."""
        stages.begin()
        snapshot = self._fleet.snapshot()
        try:
            ruling = await self._router.decide(query, ticket(request_id), snapshot, stages)
        except Exception:
            # A request is worth more than its routing: the experts' means decide.
            logger.exception("The router's model did not answer")
            self._telemetry.blind()
            ruling = self._router.blind(query, snapshot)
        seconds = time.perf_counter() - stages.began
        waited = stages.seconds
        self._telemetry.decided(seconds, {name: waited[name] for name in OWN if name in waited})
        self.decisions.happened()
        return ruling, seconds

    def read(self, api: Api, body: Any, request: Request) -> Read:
        """What a request asks.

        Raises:
            RequestError: it cannot be read, is too large, or nobody who may asks it.
        """
        return self._reader.read(api, body, request.headers, self.caller(request))

    async def _answer(self, story: Story, caller: Caller) -> Response:
        api, body, request = story.api, story.body, story.request
        read = story.read = self._reader.read(api, body, request.headers, caller)
        timeout = read.query.wish.max_latency_s or self._limits.timeout_s
        errand = Errand(
            api,
            body,
            request,
            asyncio.get_running_loop().time() + timeout,
            read.session,
            read.query.share,
            caller.priority,
            story.trace,
        )
        if is_routed(read.model):
            return await self._routed(story, read, errand)
        story.opened = await self._dispatcher.open(
            [(named_expert(read, self._experts, self._door), 0.0)], errand
        )
        return await self._begun(story, read, errand, story.opened)

    async def _routed(self, story: Story, read: Read, errand: Errand) -> Response:
        wait = self._fleet.full(read.query.share)
        if wait is not None:
            full = Overloaded("Every expert that is up has a full queue")
            full.retry_after_s = wait
            raise full
        ruling, seconds = await self.decide(read.query, read.request_id, story.stages)
        story.ruling, story.decided_s = ruling, seconds
        if not ruling.acting.open:
            self._fleet.wake(asleep_and_late(ruling.acting))
        candidates = open_candidates(ruling.acting, errand.body, self._limits.cooldown_s)
        wish = read.query.wish
        if self._climb is not None and wish.tradeoff is None and not wish.fastest:
            ladder = self._climb.ladder(errand, candidates)
            if ladder:
                climbed = await self._climb.open(ladder, errand, candidates)
                story.opened, story.cascade = climbed.opened, climbed.told
                trim = self._climb.for_client(errand.body, errand.api.method == "chat")
                return await self._begun(
                    story, read, climbed.errand, climbed.opened, climbed.spent_usd, trim
                )
        order = [(candidate.expert, candidate.seconds) for candidate in candidates]
        story.opened = await self._dispatcher.open(order, errand)
        return await self._begun(story, read, errand, story.opened)

    async def _begun(
        self,
        story: Story,
        read: Read,
        errand: Errand,
        opened: Opened,
        spent_usd: float = 0.0,
        trim: Callable[[dict[str, Any]], None] | None = None,
    ) -> Response:
        """The response to an answer that has begun.

        Args:
            story: of the request.
            read: the request.
            errand: as its expert was asked.
            opened: the answer.
            spent_usd: dollars for tiers of a cascade that were asked before.
            trim: takes out what the client did not ask for.
        """
        self._memory.answered(read.conversation.key, read.session, opened.expert)
        self._books.dispatched(story)
        explained = story.ruling is not None and read.explain
        account = Account(
            errand.api,
            errand.body,
            opened.expert,
            self._prices,
            self._router.rollout.champion.best_single,
            spent_before=spent_usd,
            explained=decision_record(story.ruling.acting) if explained and story.ruling else None,
            trim=trim,
            on_close=partial(self._books.closed, story),
        )
        headers = _headers(story, opened)
        if isinstance(opened.items[0], dict):
            answer = await self._dispatcher.whole(opened, account)
            return JSONResponse(answer, headers=headers)
        stream = self._dispatcher.relay(opened, errand, account)
        return Streamed(stream, partial(self._over, opened, account), headers)

    async def _over(self, opened: Opened, account: Account) -> None:
        """A stream has ended, or nobody came to read it: then its expert is still at work."""
        self._under_way -= 1
        await self._dispatcher.drop(opened)
        account.close()

    def _admit(self) -> None:
        """One more request, where all together are not too many."""
        if self._under_way >= self._limits.max_requests:
            error = Overloaded("Too many requests are under way")
            error.retry_after_s = 1.0
            raise error
        self._under_way += 1


def _headers(story: Story, opened: Opened) -> dict[str, str]:
    headers = {HEADER_EXPERT: opened.expert}
    if opened.tried:
        headers[HEADER_FALLBACK] = header_line(opened.tried)
    if story.ruling is not None:
        headers[HEADER_ROUTER] = story.ruling.acting.router
        headers[HEADER_DECISION_MS] = f"{story.decided_s * 1000:.2f}"
    if story.cascade is not None:
        headers[HEADER_CASCADE] = story.cascade
    return headers
