from __future__ import annotations

import asyncio
import json
import subprocess
import time
from types import SimpleNamespace

import pytest
from sqlalchemy.exc import OperationalError

from serve.config import RecordSettings
from serve.errors import FeedbackUnavailable, NotConfigured, RepeatedFeedback, UnknownRequest
from serve.feedback import FeedbackStore
from serve.online.access import Caller
from serve.online.apis.chat import Chat
from serve.online.body import RouteRequest
from serve.online.reading import Read
from serve.online.records import Records
from serve.online.story import Story
from serve.protocol import Query
from serve.routing.rollout import Ruling
from tests.routing.test_pipeline import pipeline

QUERY = Query("why\0?", 3, 16)


class Body(RouteRequest):
    model: str | None = None


class FakeTelemetry:
    lost = 0

    def not_kept(self, requests):
        self.lost += requests


def body():
    return Body(model="small", messages=[{"role": "user", "content": "why?"}])


@pytest.fixture
def ruling(fake_encoder, pool):
    return Ruling(*pipeline(fake_encoder, pool).decide([QUERY]))


@pytest.fixture
def settings(tmp_path):
    database = f"sqlite:///{tmp_path}/f.sqlite"
    return RecordSettings(log=str(tmp_path / "log.jsonl"), database=database, prompts=True)


def story(request_id, ruling):
    """A request that an expert has begun to answer."""
    headers = {"x-request-id": request_id}
    told = Story(Chat(), body(), SimpleNamespace(headers=headers), ruling=ruling)
    told.read = Read("small", QUERY, None, False, None, request_id, Caller("local"))
    told.opened = SimpleNamespace(expert="small", tried=[])
    return told


def kept(settings, tmp_path):
    deadline = time.monotonic() + 10
    while not (lines := (tmp_path / "log.jsonl").read_text().splitlines()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return json.loads(lines[0])


def test_without_the_setting_no_prompt_is_kept_anywhere(settings, tmp_path, ruling):
    quiet = settings.model_copy(update={"prompts": False})
    records = Records(quiet, FakeTelemetry())
    told = story("r1", ruling)
    records.dispatched(told)
    records.over(told)
    asyncio.run(records.score("r1", 1.0))
    assert "why" not in json.dumps(kept(quiet, tmp_path))
    assert b"why" not in b"".join(f.read_bytes() for f in tmp_path.glob("f.sqlite*"))
    assert FeedbackStore(quiet.database).scored() == ([], 1)


def test_with_it_the_prompt_and_the_whole_decision_are(settings, tmp_path, ruling):
    records = Records(settings, FakeTelemetry())
    told = story("r1", ruling)
    records.dispatched(told)
    records.over(told)
    assert asyncio.run(records.score("r1", 1.0)) == "small"
    record = kept(settings, tmp_path)
    assert record["model"] == "auto" and record["router"] == "toy@1"
    assert record["messages"] == [{"role": "user", "content": "why?"}]
    assert {row["id"] for row in record["experts"]} == {"small", "large"}
    assert FeedbackStore(settings.database).scored()[0][0].prompt == "why?"


def test_a_request_that_another_replica_writes_a_moment_later_is_waited_for(settings, ruling):
    here, there = (Records(settings, FakeTelemetry()) for _ in range(2))

    async def race():
        scored = asyncio.create_task(here.score("r1", 0.5))
        await asyncio.sleep(0.1)
        there.dispatched(story("r1", ruling))
        await scored

    asyncio.run(race())
    with pytest.raises(RepeatedFeedback):
        asyncio.run(there.score("r1", 0.5))
    with pytest.raises(UnknownRequest):
        asyncio.run(there.score("r2", 0.5))


def test_without_a_database_the_answer_names_the_setting():
    records = Records(RecordSettings(), FakeTelemetry())
    records.dispatched(story("r1", None))
    with pytest.raises(NotConfigured, match="records.database"):
        asyncio.run(records.score("r1", 1.0))


def test_a_lost_database_costs_feedback_and_no_request(settings, ruling, monkeypatch):
    telemetry = FakeTelemetry()
    records = Records(settings, telemetry)

    def gone(*_):
        raise OperationalError("the disk is full", None, Exception())

    monkeypatch.setattr(FeedbackStore, "remember", gone)
    monkeypatch.setattr(FeedbackStore, "score", gone)
    records.dispatched(story("r1", ruling))
    with pytest.raises(FeedbackUnavailable):
        asyncio.run(records.score("r1", 1.0))
    assert telemetry.lost == 1


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted: not root, or in a container without the right")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_costs_feedback_while_it_is_full_and_no_request(small_disk, ruling):
    telemetry = FakeTelemetry()
    records = Records(RecordSettings(database=f"sqlite:///{small_disk}/f.sqlite"), telemetry)

    async def asked(request_id):
        records.dispatched(story(request_id, ruling))
        await records.score(request_id, 1.0)

    asyncio.run(asked("before"))
    with (small_disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError):
        while True:
            filler.write(bytes(4096))
    with pytest.raises((FeedbackUnavailable, UnknownRequest)):
        asyncio.run(asked("full"))
    assert telemetry.lost == 1
    (small_disk / "filler").unlink()
    asyncio.run(asked("after"))
    with pytest.raises(RepeatedFeedback):
        asyncio.run(records.score("before", 1.0))


def test_old_requests_are_forgotten(settings, ruling):
    brief = settings.model_copy(update={"keep_days": 1e-9})
    records = Records(brief, FakeTelemetry())
    records.dispatched(story("r1", ruling))
    with pytest.raises(UnknownRequest):
        asyncio.run(records.score("r1", 1.0))
