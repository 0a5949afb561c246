"""From an order of experts to a stream, with scripted experts in place of engines."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing

import pytest
from ray.serve.llm.openai_api_models import ChatCompletionRequest
from starlette.requests import Request

from serve.config import ExpertSettings, LimitSettings
from serve.errors import (
    DeadlineExceeded,
    ExpertUnavailable,
    InvalidRequest,
    Overloaded,
)
from serve.online import fleet
from serve.online.account import Account, Prices
from serve.online.apis.base import Usage
from serve.online.apis.chat import Chat
from serve.online.dispatch import Dispatcher
from serve.online.errand import Errand
from serve.online.fleet import Fleet
from serve.online.telemetry import Telemetry
from serve.online.upstreams.base import ExpertFailed
from serve.protocol import Expert
from tests.online.fake_engine import DONE, USAGE, event
from tests.waiting import seen

CHAT = Chat()
HANG, PAUSE = object(), object()


WHOLE = {
    "choices": [{"message": {"content": "x"}}],
    "usage": {"prompt_tokens": 2, "completion_tokens": 3},
}
GOOD = [event("a"), event("b"), USAGE, DONE]


class FakeExpert:
    """Yields a script: items, errors to raise, or HANG. Asleep, it takes `wakes_s` before.

    `others` are the scripts of its other replicas, which the second request and later ones get.
    """

    def __init__(self, script):
        self.script, self.asked, self.closed, self.probes = script, 0, 0, 0
        self.here, self.asleep, self.wakes_s = True, False, 0.0
        self.others, self.calls = [], []

    async def ask(self, call):
        self.asked += 1
        self.calls.append(call)
        try:
            if self.asleep:
                await asyncio.sleep(self.wakes_s)
                self.asleep = False
            script = self.others[self.asked - 2] if self.others and self.asked > 1 else self.script
            for item in script:
                if item is HANG or item is PAUSE:
                    await asyncio.sleep(3600 if item is HANG else 0.01)
                    continue
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.closed += 1

    async def alive(self):
        return self.here

    async def survives(self):
        return bool(self.others)

    async def healthy(self):
        self.probes += 1
        self.asleep = False
        return True


class Setting:
    def __init__(self, scripts, max_requests=10, scaling=None, **limits):
        self.experts = {name: FakeExpert(script) for name, script in scripts.items()}
        given = {"first_token_s": 0.1, "stall_s": 0.1, "cooldown_s": 0.05, "failures": 2}
        made = LimitSettings(**(given | limits))
        settings = [
            ExpertSettings(id=name, model="m", max_requests=max_requests, autoscaling=scaling or {})
            for name in scripts
        ]
        self.fleet = Fleet(settings, self.experts, made, Telemetry("test"))
        self.dispatcher = Dispatcher(self.fleet, made, Telemetry("test"))
        self.prices = Prices([Expert(name, 1.0, 1.0) for name in scripts])

    def errand(self, *, stream=True, seconds=5.0, share=1.0):
        body = ChatCompletionRequest(messages=[{"role": "user", "content": "x"}], stream=stream)
        request = Request({"type": "http", "headers": []})
        deadline = asyncio.get_running_loop().time() + seconds
        return Errand(CHAT, body, request, deadline, share=share)

    async def open(self, **errand):
        order = [(name, 0.0) for name in self.experts]
        return await self.dispatcher.open(order, self.errand(**errand))

    async def text(self, opened, **errand):
        made = self.errand(**errand)
        account = Account(CHAT, made.body, opened.expert, self.prices, opened.expert)
        stream = self.dispatcher.relay(opened, made, account)
        return "".join([text async for text in stream]), account


def told(text):
    return json.loads(text.split("data: ")[-2].strip())["error"]


def run(work):
    return asyncio.run(work)


DIES = [ExpertFailed("died", fatal=True)]


def test_another_replica_takes_over_before_another_expert_does():
    async def work():
        setting = Setting({"bad": DIES, "good": GOOD})
        setting.experts["bad"].others = [GOOD]
        opened = await setting.open()
        assert opened.expert == "bad" and opened.tried == []
        assert (await setting.text(opened))[0] == event("a") + event("b") + DONE
        assert setting.fleet["bad"].breaker.refuses is None
        assert setting.fleet["bad"].under_way == 0

    run(work())


def test_a_client_that_leaves_meanwhile_leaves_nothing_under_way():
    async def work():
        setting = Setting({"bad": DIES})
        setting.experts["bad"].survives = lambda: asyncio.sleep(3600)
        asked = asyncio.create_task(setting.open())
        await seen(lambda: setting.fleet["bad"].under_way == 1)
        asked.cancel()
        await asyncio.wait([asked])
        assert asked.cancelled() and setting.fleet["bad"].under_way == 0

    run(work())


def test_where_every_replica_asked_dies_another_expert_takes_over():
    async def work():
        setting = Setting({"bad": DIES, "good": GOOD})
        setting.experts["bad"].others = [*[DIES] * 4, GOOD]
        opened = await setting.open()
        assert opened.expert == "good" and [name for name, _ in opened.tried] == ["bad"]
        assert setting.fleet["bad"].breaker.refuses is None, "others of it live"

    run(work())


def test_a_replica_that_dies_after_the_first_token_closes_no_circuit_to_the_others():
    async def work():
        setting = Setting({"bad": [event("a"), *DIES], "good": GOOD})
        setting.experts["bad"].others = [GOOD]
        opened = await setting.open()
        text, _ = await setting.text(opened)
        assert opened.expert == "bad" and told(text)["code"] == "expert_failed"
        assert setting.fleet["bad"].breaker.refuses is None

    run(work())


@pytest.mark.parametrize(
    "script",
    [
        DIES,
        [HANG],
        [],
        [event(""), ExpertFailed("died after its role")],
    ],
    ids=["dies", "hangs", "says nothing", "dies after its role"],
)
def test_another_expert_takes_over_before_the_first_token(script):
    async def work():
        setting = Setting({"bad": script, "good": GOOD})
        opened = await setting.open()
        text, account = await setting.text(opened)
        assert opened.expert == "good"
        assert [name for name, _ in opened.tried] == ["bad"]
        assert text == event("a") + event("b") + DONE
        assert account.usage == (2, 3)
        assert setting.experts["bad"].closed == 1 == setting.experts["good"].closed
        assert setting.fleet["bad"].under_way == setting.fleet["good"].under_way == 0

    run(work())


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        ([ExpertFailed("engine died")], "engine died"),
        ([HANG], "sent nothing"),
        ([], "ended its stream early"),
    ],
)
def test_after_it_the_stream_ends_in_an_error_event(tail, reason):
    async def work():
        setting = Setting({"bad": [event("a"), *tail], "good": GOOD})
        text, _ = await setting.text(await setting.open())
        assert text.startswith(event("a")) and text.endswith(DONE)
        assert reason in told(text)["message"] and told(text)["code"] == "expert_failed"
        assert setting.experts["good"].asked == 0
        assert setting.experts["bad"].closed == 1

    run(work())


def test_no_more_experts_are_asked_than_the_limit_says():
    async def work():
        setting = Setting(
            {name: [ExpertFailed("no")] for name in "abc"} | {"good": GOOD}, attempts=2
        )
        with pytest.raises(ExpertUnavailable, match="a: no; b: no"):
            await setting.open()
        assert [expert.asked for expert in setting.experts.values()] == [1, 1, 0, 0]

    run(work())


def test_a_refusal_of_the_request_is_nobodys_failure():
    async def work():
        setting = Setting({"a": [InvalidRequest("bad", param="n")], "good": GOOD})
        for _ in range(5):
            with pytest.raises(InvalidRequest, match="bad"):
                await setting.open()
        assert setting.fleet["a"].breaker.refuses is None
        assert setting.experts["good"].asked == 0

    run(work())


def test_a_prompt_too_long_for_one_expert_goes_to_the_next():
    async def work():
        too_long = InvalidRequest("maximum context length is 40", param="messages")
        opened = await Setting({"short": [too_long], "good": GOOD}).open()
        assert opened.expert == "good"
        with pytest.raises(InvalidRequest, match="context length"):
            await Setting({"short": [too_long]}).open()

    run(work())


def test_an_open_circuit_costs_a_request_nothing_and_closes_by_itself():
    async def work():
        setting = Setting({"bad": [ExpertFailed("no")], "good": GOOD})
        bad = setting.experts["bad"]
        bad.healthy = lambda: asyncio.sleep(0, result=False)
        for _ in range(5):
            await setting.text(await setting.open())
        assert bad.asked == 2  # as many as open the circuit
        assert setting.fleet.snapshot()["bad"].down == "no"
        bad.script = GOOD
        del bad.healthy
        await seen(lambda: not setting.fleet["bad"].breaker.is_open)
        assert bad.probes >= 1 and bad.asked == 2
        opened = await setting.open()
        assert opened.expert == "bad" and opened.tried == []
        await setting.text(opened)
        assert setting.fleet.snapshot()["bad"].down is None

    run(work())


def test_odd_requests_do_not_take_an_expert_from_the_others():
    async def work():
        setting = Setting({"a": [ExpertFailed("odd", spoke=True)]}, cooldown_s=60)
        for _ in range(2):
            with pytest.raises(ExpertUnavailable, match="odd"):
                await setting.open()
        setting.experts["a"].script = GOOD
        await seen(lambda: not setting.fleet["a"].breaker.is_open)
        assert (await setting.open()).expert == "a"

    run(work())


def test_an_expert_without_a_replica_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(fleet, "WATCH_S", 0.02)

    async def work():
        setting = Setting({"gone": [HANG], "good": GOOD}, first_token_s=60)
        setting.experts["gone"].here = False
        await seen(lambda: setting.fleet.snapshot()["gone"].down == "has no live replica")
        opened = await setting.open()
        assert opened.expert == "good" and setting.experts["gone"].asked == 0
        await setting.text(opened)

    run(work())


def test_who_waits_when_the_last_replica_dies_goes_to_another_expert(monkeypatch):
    monkeypatch.setattr(fleet, "WATCH_S", 0.02)

    async def work():
        setting = Setting({"dies": [HANG], "good": GOOD}, first_token_s=60)
        waiting = asyncio.create_task(setting.open())
        await seen(lambda: setting.experts["dies"].asked == 1)
        setting.experts["dies"].here = False
        opened = await asyncio.wait_for(waiting, 5)
        assert (opened.expert, opened.tried) == ("good", [("dies", "has no live replica")])
        assert setting.fleet["dies"].under_way == 0
        await setting.text(opened)

    run(work())


def test_a_full_queue_is_passed_by_and_all_full_is_a_429():
    async def work():
        setting = Setting({"a": [event("a"), HANG], "b": [event("b"), HANG]}, max_requests=1)
        first, second = await setting.open(), await setting.open()
        assert (first.expert, second.expert) == ("a", "b")
        with pytest.raises(Overloaded) as caught:
            await setting.open()
        assert caught.value.retry_after_s >= 1
        await first.rest.aclose()
        setting.fleet.left(first.lease)
        assert (await setting.open()).expert == "a"

    run(work())


def test_nobody_waits_beyond_the_deadline_and_that_is_nobodys_failure():
    async def work():
        setting = Setting({"slow": [HANG]}, first_token_s=60)
        with pytest.raises(DeadlineExceeded):
            await setting.open(seconds=0.1)
        assert setting.fleet["slow"].breaker.refuses is None
        setting = Setting({"slow": [event("a"), HANG]}, stall_s=60)
        opened = await setting.open()
        text, _ = await setting.text(opened, seconds=0.1)
        assert told(text)["code"] == "deadline_exceeded"

    run(work())


def test_a_client_that_leaves_ends_the_work_and_is_nobodys_failure():
    async def work():
        setting = Setting({"a": [event("a"), HANG]}, stall_s=60, first_token_s=60)
        opened = await setting.open()
        made = setting.errand()
        account = Account(CHAT, made.body, "a", setting.prices, "a")
        async with aclosing(setting.dispatcher.relay(opened, made, account)) as stream:
            assert await anext(stream) == event("a")
        assert setting.experts["a"].closed == 1
        assert setting.fleet["a"].under_way == 0
        setting.experts["a"].script = [HANG]
        task = asyncio.create_task(setting.open())
        await seen(lambda: setting.fleet["a"].under_way == 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert setting.experts["a"].closed == 2
        assert setting.fleet["a"].under_way == 0
        assert setting.fleet["a"].breaker.refuses is None

    run(work())


def test_a_whole_answer_is_billed_and_may_explain_itself():
    async def work():
        setting = Setting({"a": [WHOLE]})
        opened = await setting.open(stream=False)
        made = setting.errand(stream=False)
        account = Account(CHAT, made.body, "a", setting.prices, "a", explained={"why": 1})
        answer = await setting.dispatcher.whole(opened, account)
        assert answer["routing"] == {"why": 1}
        assert answer["usage"]["cost_usd"] == pytest.approx(5e-6)
        assert setting.fleet["a"].under_way == 0

    run(work())


@pytest.mark.parametrize("stream", [True, False])
def test_speed_is_learned_from_answers(stream):
    """A longer answer is expected to take longer, whichever way the last ones came."""

    async def work():
        script = [PAUSE, *GOOD] if stream else [PAUSE, WHOLE]
        setting = Setting({"a": script}, first_token_s=30, stall_s=30)
        for _ in range(3):
            opened = await setting.open(stream=stream)
            if stream:
                await setting.text(opened)
            else:
                body = setting.errand(stream=False).body
                account = Account(CHAT, body, "a", setting.prices, "a")
                await setting.dispatcher.whole(opened, account)
        status = setting.fleet.snapshot()["a"]
        assert status.seconds(1000) > status.seconds(1) > 0

    run(work())


def sleeping(script=GOOD, wakes_s=0.3, others=(), **scaling):
    """The first expert sleeps; others follow it. A first token may take 0.1 s, a wake-up longer."""
    scripts = {"sleeper": script} | dict.fromkeys(others, GOOD)
    scaling = {"min_replicas": 0, "wake_s": 2.0} | scaling
    setting = Setting(scripts, scaling=scaling, failures=1)
    sleeper = setting.experts["sleeper"]
    sleeper.asleep, sleeper.wakes_s = True, wakes_s
    return setting


@pytest.mark.parametrize("stream", [True, False])
def test_a_request_waits_for_an_expert_to_wake_and_nothing_counts_it_a_failure(stream):
    async def work():
        setting = sleeping(GOOD if stream else [WHOLE])
        opened = await setting.open(stream=stream)
        assert opened.expert == "sleeper" and opened.tried == []
        member = setting.fleet["sleeper"]
        setting.fleet.answered(opened.lease, Usage(2, 3))
        assert member.breaker.refuses is None and member.wake.waiting == 0
        # How long the wake-up took is not how long an answer takes.
        assert member.speed.first_s(0) == member.speed.token_s(0) == 0

    run(work())


def test_one_that_takes_longer_than_it_may_to_wake_has_failed():
    async def work():
        setting = sleeping(wakes_s=30, others=["awake"], wake_s=0.2)
        setting.experts["awake"].asleep = False
        opened = await setting.open()
        assert opened.expert == "awake" and "gave nothing" in opened.tried[0][1]
        assert setting.fleet["sleeper"].breaker.refuses is not None

    run(work())


def test_one_that_falls_asleep_under_a_request_has_not_failed():
    async def work():
        setting = sleeping([HANG], others=["awake"])
        sleeper = setting.experts["sleeper"]
        sleeper.asleep = False
        asyncio.get_running_loop().call_later(0.05, setattr, sleeper, "asleep", True)
        assert (await setting.open()).expert == "awake"
        assert setting.fleet["sleeper"].breaker.refuses is None

    run(work())


def test_a_request_that_cannot_wait_goes_on_and_wakes_nobody():
    async def work():
        setting = sleeping(others=["awake"])
        opened = await setting.open(seconds=1.0)
        assert opened.expert == "awake" and "sleeps" in opened.tried[0][1]
        assert setting.experts["sleeper"].asked == setting.experts["sleeper"].probes == 0

    run(work())


def test_where_nobody_else_is_left_it_is_told_when_to_come_back_and_then_answered():
    async def work():
        setting = sleeping()
        with pytest.raises(ExpertUnavailable, match="wake too late") as caught:
            await setting.open(seconds=1.0)
        assert caught.value.retry_after_s == 2  # wake_s, none having been seen
        await seen(lambda: setting.experts["sleeper"].probes == 1)
        assert (await setting.open(seconds=1.0)).expert == "sleeper"

    run(work())


def test_no_more_wait_for_a_wake_up_than_may():
    async def work():
        setting = sleeping(wake_requests=3)
        results = await asyncio.gather(*(setting.open() for _ in range(5)), return_exceptions=True)
        assert sum(isinstance(result, Overloaded) for result in results) == 2
        assert all(r.retry_after_s >= 1 for r in results if isinstance(r, Overloaded))
        assert setting.fleet["sleeper"].wake.waiting == 0
        assert setting.experts["sleeper"].asked == 3

    run(work())


def test_the_expected_wake_up_is_what_the_last_one_took_less_what_has_passed(monkeypatch):
    async def work():
        monkeypatch.setattr(fleet, "WATCH_S", 0.02)
        setting = sleeping(wake_s=20.0)
        assert setting.fleet.snapshot()["sleeper"].wake_s == 20.0
        await setting.open(seconds=60)
        await seen(lambda: setting.fleet["sleeper"].wake.expected_s < 10.0)
        assert setting.fleet.snapshot()["sleeper"].wake_s == 0
        setting.experts["sleeper"].asleep = True
        assert 1.0 <= setting.fleet.snapshot()["sleeper"].wake_s < 10.0  # it took 0.3 s

    run(work())
