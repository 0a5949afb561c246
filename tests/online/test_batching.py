"""The batched router on a small event loop, without Ray; the encoder is fake."""

from __future__ import annotations

import asyncio
import threading

import pytest

from serve.config import BatchSettings
from serve.online import batching
from serve.online.batching import BatchedRouter
from serve.online.stages import Stages
from serve.online.telemetry import Telemetry
from serve.protocol import Query
from serve.routing.rollout import Rollout
from tests.routing.test_pipeline import guard, pipeline


def test_a_model_that_hangs_costs_its_batch_and_no_other(monkeypatch, fake_encoder, pool):
    monkeypatch.setattr(batching, "LOST_S", 1.0)
    release, hang = threading.Event(), [True]
    made = pipeline(fake_encoder, pool, guard=guard(0.01))
    encode = fake_encoder.encode

    def stuck(texts, lap):
        if hang.pop() if hang else False:
            release.wait(10)
        return encode(texts, lap)

    fake_encoder.encode = stuck
    router = BatchedRouter(Rollout(made), BatchSettings(), Telemetry("test"))

    async def work():
        with pytest.raises(TimeoutError):
            await router.one_pass([Query("q", 1)], [0.0], {}, Stages())
        (ruling,) = await router.one_pass([Query("q", 1)], [0.0], {}, Stages())
        assert ruling.acting.pick.expert in ("small", "large")
        release.set()

    asyncio.run(work())


def test_without_the_model_the_experts_means_decide(fake_encoder, pool):
    router = BatchedRouter(
        Rollout(pipeline(fake_encoder, pool, guard=guard(0.01))), BatchSettings(), Telemetry("test")
    )
    decision = router.blind(Query("q", 1), {}).acting
    assert decision.guarded and decision.pick.expert == "small"
    assert fake_encoder.passes == 0
