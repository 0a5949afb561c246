"""What is written down of requests: metrics, usage, the log, feedback, the figures of now."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from starlette.requests import Request

from serve.errors import Overloaded
from serve.online.account import Account
from serve.online.apis.base import Api
from serve.online.batching import BatchedRouter
from serve.online.counters import Total
from serve.online.disconnect import ClientGone
from serve.online.fleet import Fleet
from serve.online.ledger import Ledger
from serve.online.live import Live
from serve.online.metering import AnswerTelemetry
from serve.online.records import Records
from serve.online.story import Story
from serve.online.telemetry import Telemetry
from serve.online.tracing import UNTRACED, Tracer

PUBLISH_S = 5.0
"""Gauges are set so often; Ray exports each every 10 s, for 20 s after it was last set."""


class Books:
    """Of one ingress replica.

    Args:
        ledger: what keys took.
        records: the log and the feedback.
        live: the figures of now.
        fleet: the experts now.
        router: what decides now.
        telemetry: what is counted of answers.
        states: of decisions and faults, which are published too.
        tracer: makes the spans.
    """

    def __init__(
        self,
        ledger: Ledger,
        records: Records,
        live: Live,
        fleet: Fleet,
        router: BatchedRouter,
        telemetry: AnswerTelemetry,
        states: Telemetry,
        tracer: Tracer = UNTRACED,
    ) -> None:
        self._ledger = ledger
        self._records = records
        self._live = live
        self._fleet = fleet
        self._router = router
        self._telemetry = telemetry
        self._states = states
        self._tracer = tracer
        self._publisher: asyncio.Task[None] | None = None

    def publish(self) -> None:
        """Publish gauges from now on, on the event loop that serves."""
        if self._publisher is None:
            self._publisher = asyncio.get_running_loop().create_task(self._publish())

    def arrived(self, api: Api, body: Any, request: Request) -> Story:
        """A request begins."""
        return Story(api, body, request, trace=self._tracer.trace(request.headers))

    def dispatched(self, story: Story) -> None:
        """An answer has begun."""
        assert story.opened is not None and story.read is not None
        decision = story.ruling.acting if story.ruling is not None else None
        self._telemetry.dispatched(story.opened.expert, decision)
        self._live.dispatched(story.opened.expert, decision)
        self._records.dispatched(story)

    def closed(self, story: Story, account: Account) -> None:
        """The answer is over, whole or not."""
        assert story.opened is not None and story.read is not None
        story.account, story.error = account, account.broke
        usage = account.taken(story.read.query.input_tokens)
        bill = account.bill or account.billed(usage)
        self._ledger.charge(
            story.read.caller,
            account.expert,
            Total(1, *usage, bill.cost_usd, bill.priciest_usd, bill.best_single_usd),
        )
        self._live.billed(account.expert, usage, bill)
        self._telemetry.billed(bill)
        if account.broke is not None:
            self._telemetry.ended_in("stream")
        elif account.usage is not None:
            lease = story.opened.lease
            self._telemetry.answered(
                account.expert,
                lease.first and lease.first - lease.started,
                time.monotonic() - lease.started,
                account.usage.output_tokens,
            )
        self._over(story)

    def refused(self, story: Story, error: Exception) -> None:
        """It got an error in place of an answer."""
        story.error = error
        self._telemetry.ended_in(str(story.status))
        if isinstance(error, Overloaded):
            self._telemetry.shed()
        self._over(story)

    def left(self, story: Story, gone: ClientGone) -> None:
        """The client went away before any of the answer: no error of ours, so none is counted."""
        story.error = gone
        self._over(story)

    def _over(self, story: Story) -> None:
        self._records.over(story)
        story.trace.over(story)

    async def _publish(self) -> None:
        while True:
            served = self._router.rollout.champion
            self._telemetry.now(
                self._live.shares,
                self._live.ood_ratio,
                self._fleet.depths(),
                served.router,
                guarded=not served.trusted,
            )
            self._states.again()
            await asyncio.sleep(PUBLISH_S)
