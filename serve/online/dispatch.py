"""From an order of experts to the first token of one of them; then the tokens, to the client.

Before the first token another replica takes over from one that dies, and another expert from one
that fails; after it none can, and the stream ends with an error event of its endpoint. Nobody waits
beyond the request's deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from serve.config import LimitSettings
from serve.errors import DeadlineExceeded, ExpertUnavailable, Overloaded, RequestError
from serve.online.account import Account
from serve.online.apis.base import change_events
from serve.online.errand import Errand, Opened
from serve.online.fleet import GONE, Fleet, Lease
from serve.online.telemetry import Telemetry
from serve.online.upstreams.base import Call, ExpertFailed, Item

_MUCH_LATER = 10.0
"""A whole answer that takes this many times what it should has failed."""

_TOO_LONG = "context length"

_LOST, _LOST_S = 4, 0.1
"""How often a request may lose its replica and be asked again of the expert; seconds between."""


class _ReplicaLost(ExpertFailed):
    """One of an expert's replicas died, and another is there."""


class Dispatcher:
    """Asks one expert after the other."""

    def __init__(self, fleet: Fleet, limits: LimitSettings, telemetry: Telemetry) -> None:
        self._fleet = fleet
        self._limits = limits
        self._telemetry = telemetry

    async def open(self, order: Sequence[tuple[str, float]], errand: Errand) -> Opened:
        """The first answer that begins.

        Args:
            order: experts, and the seconds that each is expected to take; 0: not known.
            errand: the request.

        Raises:
            RequestError: the request is refused by an expert, or nobody can take it.
        """
        tried: list[tuple[str, str]] = []
        refused: RequestError | None = None
        asked, full = 0, 0.0
        asleep: list[str] = []
        for position, (name, expected) in enumerate(order):
            if asked == self._limits.attempts:
                break
            member = self._fleet[name]
            if member.breaker.refuses is not None:
                tried.append((name, member.breaker.refuses))
                continue
            if member.fill >= errand.share:
                full = max(full, expected, 1.0)
                continue
            if member.wake_s > errand.deadline - _now():
                tried.append((name, "sleeps, and would wake too late for this request"))
                asleep.append(name)
                continue
            asked += 1
            wait = self._patience(errand, name, expected, last=position == len(order) - 1)
            try:
                opened = await self._begin(name, errand, wait)
                opened.tried = tried
                return opened
            except ExpertFailed as error:
                tried.append((name, str(error)))
                self._telemetry.fell_back(name)
            except RequestError as error:
                if _TOO_LONG not in str(error):
                    raise
                refused = refused or error
        raise refused or self._nobody(tried, full, asleep)

    async def relay(
        self, opened: Opened, errand: Errand, account: Account
    ) -> AsyncGenerator[str, None]:
        """The stream to the client, to its end or to an error event.

        Args:
            opened: of a streamed request.
            errand: the request.
            account: sees every event that it must.
        """
        api, marks, ended = errand.api, account.marks, False
        try:
            while True:
                text = str(
                    opened.items.pop(0) if opened.items else await self._next(opened, errand)
                )
                ended = api.end_mark in text
                if account.explains:
                    text = change_events(text, account.first)
                elif any(mark in text for mark in marks):
                    text = change_events(text, account.seen)
                if text:
                    account.events += 1
                    yield text
        except StopAsyncIteration:
            if ended:
                self._fleet.answered(opened.lease, account.usage)
            else:
                early = ExpertFailed("ended its stream early")
                yield await self._broken(opened, errand, early, account)
        except ExpertFailed as error:
            yield await self._broken(opened, errand, error, account)
        except RequestError as error:
            account.broke = error
            yield api.failure(error)
        finally:
            self._fleet.left(opened.lease)  # one that has ended stays as it ended
            await opened.rest.aclose()
            account.close()

    async def advance(self, opened: Opened, errand: Errand) -> Item:
        """One more item of an answer that nobody has seen yet, kept in `opened`.

        Raises:
            StopAsyncIteration: there is none.
            ExpertFailed: the expert failed; this is noted.
            DeadlineExceeded: the request's time is over.
        """
        try:
            opened.items.append(await self._next(opened, errand))
        except ExpertFailed as error:
            await self._noted(opened.lease, error)
            await opened.rest.aclose()
            raise
        except BaseException as error:
            if not isinstance(error, StopAsyncIteration):
                await self.drop(opened)
            raise
        return opened.items[-1]

    async def drop(self, opened: Opened) -> None:
        """This answer is not wanted; its expert did nothing wrong."""
        self._fleet.left(opened.lease)
        await opened.rest.aclose()

    async def whole(self, opened: Opened, account: Account) -> dict[str, Any]:
        """The answer to a request that is not streamed, which is here already."""
        answer = opened.items[0]
        if not isinstance(answer, dict):
            await self.drop(opened)
            raise ExpertUnavailable(
                f"Expert {opened.expert} streamed what was asked for as a whole"
            )
        answer = account.whole(answer)
        self._fleet.answered(opened.lease, account.usage)
        await opened.rest.aclose()
        account.close()
        return answer

    async def _begin(self, name: str, errand: Errand, wait: float) -> Opened:
        until = _now() + wait
        for _ in range(_LOST):
            with contextlib.suppress(_ReplicaLost):
                return await self._ask(name, errand, max(0.0, until - _now()))
            # Serve may choose the dead one again until it has heard of its death.
            await asyncio.sleep(_LOST_S)
        return await self._ask(name, errand, max(0.0, until - _now()))

    async def _ask(self, name: str, errand: Errand, wait: float) -> Opened:
        member = self._fleet[name]
        addressed = errand.api.address(errand.body, member.settings)
        if member.settings.engine.get("scheduling_policy") == "priority":
            addressed.priority = errand.priority
        lease = self._fleet.enter(name)
        call = Call(errand.api, addressed, errand.request, errand.session, errand.trace.asks(lease))
        stream = member.upstream.ask(call)
        items: list[Item] = []
        try:
            async with asyncio.timeout(wait) as lease.patience:
                items.append(await anext(stream))
                while isinstance(items[-1], str) and not errand.api.begun(items[-1]):
                    items.append(await anext(stream))
        except (TimeoutError, StopAsyncIteration, ExpertFailed) as error:
            await stream.aclose()
            if isinstance(error, TimeoutError) and _now() >= errand.deadline:
                self._fleet.left(lease)
                raise _late() from None
            failed = ExpertFailed(GONE, fatal=True) if lease.lost else _failure(error, wait)
            raise await self._noted(lease, failed) from error
        except BaseException:
            self._fleet.left(lease)
            await stream.aclose()
            raise
        finally:
            lease.patience = None
        if isinstance(items[0], str):  # of a whole answer the first token is not seen
            lease.begun()
        return Opened(name, items, stream, lease)

    async def _next(self, opened: Opened, errand: Errand) -> str:
        try:
            async with asyncio.timeout(min(self._limits.stall_s, errand.deadline - _now())):
                return str(await anext(opened.rest))
        except TimeoutError:
            if _now() >= errand.deadline:
                raise _late() from None
            raise ExpertFailed(f"sent nothing for {self._limits.stall_s:g} s") from None

    async def _noted(self, lease: Lease, error: ExpertFailed) -> ExpertFailed:
        """The same failure, known to be of one replica alone where others live."""
        lease.failure = str(error)
        try:
            one_of_many = error.fatal and not lease.lost and await lease.member.upstream.survives()
        except asyncio.CancelledError:
            self._fleet.failed(lease, error)
            raise
        if one_of_many:
            self._fleet.lost_replica(lease)
            return _ReplicaLost(str(error))
        self._fleet.failed(lease, error)
        return error

    async def _broken(
        self, opened: Opened, errand: Errand, error: ExpertFailed, account: Account
    ) -> str:
        await self._noted(opened.lease, error)
        told = f"Expert {opened.expert} failed: {error}"
        account.broke = ExpertUnavailable(told, code="expert_failed")
        return errand.api.failure(account.broke)

    def _patience(self, errand: Errand, name: str, expected: float, *, last: bool) -> float:
        """Seconds that one expert may take to its first token, or to a whole answer."""
        member = self._fleet[name]
        left = max(0.0, errand.deadline - _now())
        if getattr(errand.body, "stream", False):
            return min(left, member.patience_s + self._limits.first_token_s)
        if expected > 0:
            awake = max(self._limits.first_token_s, _MUCH_LATER * (expected - member.wake_s))
            return min(left, member.patience_s + awake)
        return left if last else left / 2

    def _nobody(
        self, tried: Sequence[tuple[str, str]], full: float, asleep: Sequence[str]
    ) -> RequestError:
        """What a request is told that no expert answered.

        Args:
            tried: experts, and why each did not.
            full: seconds until it is worth asking again, where a queue was full; else 0.
            asleep: those that would have woken too late; they are woken for the next request.
        """
        wakes = [self._fleet[name].wake_s for name in asleep]
        self._fleet.wake(asleep)
        if full:
            error: RequestError = Overloaded("Every expert that could answer has a full queue")
            error.retry_after_s = full
            return error
        told = "; ".join(f"{name}: {reason}" for name, reason in tried)
        error = ExpertUnavailable(f"No expert answered. {told}")
        error.retry_after_s = math.ceil(min(wakes, default=self._limits.cooldown_s))
        return error


def _failure(error: Exception, wait: float) -> ExpertFailed:
    if isinstance(error, ExpertFailed):
        return error
    if isinstance(error, TimeoutError):
        return ExpertFailed(f"gave nothing within {wait:.0f} s")
    return ExpertFailed("ended its answer before it began")


def _late() -> DeadlineExceeded:
    return DeadlineExceeded("The answer was not whole within the request's time")


def _now() -> float:
    return asyncio.get_running_loop().time()
