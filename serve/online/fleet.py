"""What one ingress replica knows of the experts: who is up or asleep, how busy, how fast."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serve.config import ExpertSettings, LimitSettings
from serve.online.apis.base import Usage
from serve.online.breaker import Breaker
from serve.online.telemetry import Telemetry
from serve.online.upstreams.base import ExpertFailed, Upstream
from serve.online.wake import Wake
from serve.routing.speed import Speed
from serve.terms import Snapshot, Status

logger = logging.getLogger("ray.serve")

MAX_COOLDOWN_S = 60.0
WATCH_S = 2.0
ROUSE_S = 0.5
GONE = "has no live replica"


class Member:
    """One expert: how it is reached, and what is known of it."""

    def __init__(self, settings: ExpertSettings, upstream: Upstream, failures: int) -> None:
        self.settings = settings
        self.upstream = upstream
        self.breaker = Breaker(failures)
        self.speed = Speed()
        self.wake = Wake(settings.autoscaling.wake_s, settings.autoscaling.wake_requests)
        self.leases: set[Lease] = set()

    @property
    def under_way(self) -> int:
        """Requests at it."""
        return len(self.leases)

    @property
    def fill(self) -> float:
        """Share of its queue that is taken."""
        fill = self.under_way / self.settings.max_requests
        return max(fill, self.wake.fill) if self.upstream.asleep else fill

    @property
    def wake_s(self) -> float:
        """Seconds until it has a replica, where it sleeps; else 0."""
        return self.wake.expected_s if self.upstream.asleep else 0.0

    @property
    def patience_s(self) -> float:
        """That it may be late by, having no replica yet."""
        return self.wake.longest_s if self.upstream.asleep else 0.0


@dataclass(eq=False)
class Lease:
    """One request under way at one expert.

    Attributes:
        member: the expert.
        load: others that were under way when it began.
        woke: it found the expert asleep.
        waits: it still waits for a replica.
        started, first: time.monotonic() of its start and of its first token.
        patience: for as long as its first token is waited for.
        lost: there is nobody left to answer it.
        ended: time.monotonic() of its end.
        failure: why the expert failed it; None: it did not.
    """

    member: Member
    load: int
    woke: bool
    waits: bool
    started: float = field(default_factory=time.monotonic)
    first: float | None = None
    patience: asyncio.Timeout | None = None
    lost: bool = False
    ended: float | None = None
    failure: str | None = None

    def begun(self) -> None:
        """Its first token is here."""
        self.first = time.monotonic()
        self.awake()

    def awake(self) -> None:
        """It waits for no replica any more."""
        self.member.wake.waiting -= self.waits
        self.waits = False

    def lose(self) -> None:
        """Whoever waits for its first token waits no more; Serve would, until a new replica."""
        self.lost = True
        if self.patience is not None:
            self.patience.reschedule(asyncio.get_running_loop().time())


class Fleet:
    """All experts, as this replica sees them.

    Args:
        experts: the settings' ones.
        upstreams: expert id -> how it is reached.
        limits: of the settings.
        telemetry: told of circuits.
    """

    def __init__(
        self,
        experts: Sequence[ExpertSettings],
        upstreams: Mapping[str, Upstream],
        limits: LimitSettings,
        telemetry: Telemetry,
    ) -> None:
        self._limits = limits
        self._telemetry = telemetry
        self._members = {
            expert.id: Member(expert, upstreams[expert.id], limits.failures) for expert in experts
        }
        for name in self._members:
            telemetry.circuit(name, is_open=False)  # a gauge that nobody sets is not there
        self._tasks: set[asyncio.Task[Any]] = set()
        self._watch: asyncio.Task[None] | None = None

    def __getitem__(self, expert: str) -> Member:
        return self._members[expert]

    def snapshot(self) -> Snapshot:
        """Every expert's status now."""
        self._keep_watch()
        return {
            name: Status(
                first_s=member.speed.first_s(member.under_way),
                token_s=member.speed.token_s(member.under_way),
                down=member.breaker.refuses,
                fill=member.fill,
                wake_s=member.wake_s,
            )
            for name, member in self._members.items()
        }

    def depths(self) -> dict[str, int]:
        """Requests under way, by expert."""
        return {name: member.under_way for name, member in self._members.items()}

    def full(self, share: float) -> float | None:
        """Seconds until it is worth asking again, where every queue is taken; None: one is not.

        Tells a request that nobody can take before anything is spent on deciding it.
        """
        up = [m for m in self._members.values() if m.breaker.refuses is None]
        if not up or any(member.fill < share for member in up):
            return None
        return min(max(1.0, m.wake_s + m.speed.first_s(m.under_way)) for m in up)

    def enter(self, expert: str) -> Lease:
        """One more request goes to that expert."""
        self._keep_watch()
        member = self._members[expert]
        member.breaker.enter()
        asleep = member.upstream.asleep
        lease = Lease(member, member.under_way, woke=asleep, waits=asleep)
        member.leases.add(lease)
        if asleep:
            member.wake.waiting += 1
            self._wakes(member)
        return lease

    def wake(self, experts: Iterable[str]) -> None:
        """Wake those that sleep, for a request that cannot wait: the next may find them awake."""
        for member in map(self._members.__getitem__, experts):
            if member.upstream.asleep and self._wakes(member):
                self._start(self._rouse(member))

    def answered(self, lease: Lease, usage: Usage | None) -> None:
        """The whole answer is here."""
        if self._end(lease):
            lease.member.breaker.succeeded()
            total = time.monotonic() - lease.started
            # How long a wake-up takes says nothing of how fast the expert answers.
            if usage is not None and usage.output_tokens > 0 and not lease.woke:
                first = total if lease.first is None else lease.first - lease.started
                lease.member.speed.observe(lease.load, first, total, usage.output_tokens)

    def left(self, lease: Lease) -> None:
        """It ended by no fault of the expert's: the client went away, or was refused."""
        if self._end(lease):
            lease.member.breaker.left()

    def lost_replica(self, lease: Lease) -> None:
        """A replica died under it, and the expert has others."""
        if self._end(lease):
            lease.member.breaker.left()
            self._telemetry.failed(lease.member.settings.id)

    def failed(self, lease: Lease, error: ExpertFailed) -> None:
        """The expert did not do its part."""
        if not self._end(lease):
            return
        if lease.member.upstream.asleep and not lease.woke:
            lease.member.breaker.left()  # its replica was taken away: nobody's fault
            return
        self._telemetry.failed(lease.member.settings.id)
        # Odd requests can make an engine fail that is well: it is probed at once, lest a client
        # that sends them take it from all others.
        wait = 0.0 if error.spoke else self._limits.cooldown_s
        self._fault(lease.member, str(error), wait, fatal=error.fatal)

    def _fault(self, member: Member, reason: str, wait: float, *, fatal: bool) -> None:
        if not member.breaker.failed(reason, fatal=fatal):
            return
        expert = member.settings.id
        logger.warning(f"{expert} gets no requests until it answers a probe: {reason}")
        self._telemetry.circuit(expert, is_open=True)
        self._start(self._probe(member, wait))

    def _wakes(self, member: Member) -> bool:
        """Whether this is the request that wakes it."""
        wakes = member.wake.begins()
        if wakes:
            self._telemetry.woke(member.settings.id)
        return wakes

    def _start(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _keep_watch(self) -> None:
        """Begin to look, on the event loop that serves."""
        if self._watch is None:
            self._watch = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        """Whether each expert is there, so that no request has to find out by waiting for it."""
        while True:
            there = [m for m in self._members.values() if not m.breaker.is_open]
            found = await asyncio.gather(*(member.upstream.alive() for member in there))
            for member, alive in zip(there, found, strict=True):
                if not alive:
                    self._fault(member, GONE, self._limits.cooldown_s, fatal=True)
                    for lease in member.leases:
                        lease.lose()
                if not member.upstream.asleep:
                    member.wake.ended()
            await asyncio.sleep(WATCH_S)

    def _end(self, lease: Lease) -> bool:
        if lease not in lease.member.leases:
            return False
        lease.member.leases.remove(lease)
        lease.ended = time.monotonic()
        lease.awake()
        return True

    async def _rouse(self, member: Member) -> None:
        """Ask an expert until it is there: Serve starts a replica for what waits."""
        until = time.monotonic() + member.wake.longest_s
        while time.monotonic() < until and not await member.upstream.healthy():
            await asyncio.sleep(ROUSE_S)

    async def _probe(self, member: Member, wait: float) -> None:
        """Ask an expert for its health until it answers; then one request may try it."""
        while member.breaker.is_open:
            await asyncio.sleep(wait)
            wait = min(max(2 * wait, self._limits.cooldown_s), MAX_COOLDOWN_S)
            if await member.upstream.healthy():
                member.breaker.probed()
                self._telemetry.circuit(member.settings.id, is_open=False)
                logger.warning(f"{member.settings.id} answers probes again")
