"""Keeps what the settings ask for of every dispatched request, off the request path."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from serve.config import RecordSettings
from serve.errors import FeedbackUnavailable, NotConfigured, UnknownRequest
from serve.feedback import MAX_ID, Dispatched, FeedbackStore
from serve.online.record import record_of
from serve.online.story import Story
from serve.online.telemetry import Telemetry
from serve.request_log import RequestLog

logger = logging.getLogger("ray.serve")

PATIENCE_S = (0.0, 0.2, 0.8)
"""How long a score waits for its request, which another replica may be writing."""

FORGET_EVERY_S = 3600.0


class Records:
    """The request log and the feedback of one replica.

    Raises:
        SettingsError: the log or the database cannot be opened.
    """

    def __init__(self, settings: RecordSettings, telemetry: Telemetry) -> None:
        self._settings = settings
        self._telemetry = telemetry
        self._log = RequestLog(Path(settings.log).expanduser()) if settings.log else None
        self._store = FeedbackStore(settings.database) if settings.database else None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="feedback")
        self._waiting: list[Dispatched] = []
        self._forgot = 0.0

    def dispatched(self, story: Story) -> None:
        """An answer has begun: from now on somebody may say what it was worth."""
        read, opened = story.read, story.opened
        assert read is not None and opened is not None
        if self._store is not None and len(read.request_id) <= MAX_ID:
            # PostgreSQL's text holds every character but NUL.
            prompt = read.query.text.replace("\0", "") if self._settings.prompts else None
            router = story.ruling.acting.router if story.ruling else ""
            self._waiting.append(
                Dispatched(read.request_id, time.time(), opened.expert, router, prompt)
            )
            if len(self._waiting) == 1:
                self._thread.submit(self._flush, self._store)

    def over(self, story: Story) -> None:
        """A request is over, answered or not."""
        if self._log is not None:
            self._log.write(record_of(story, prompts=self._settings.prompts))

    async def score(self, request_id: str, score: float) -> str:
        """Keep a score durably; who answered.

        Raises:
            NotConfigured, UnknownRequest, RepeatedFeedback, FeedbackUnavailable.
        """
        if self._store is None:
            raise NotConfigured("Feedback is not kept here: records.database is not set")
        loop = asyncio.get_running_loop()
        for pause in PATIENCE_S:
            await asyncio.sleep(pause)
            try:
                return await loop.run_in_executor(
                    self._thread, self._store.score, request_id, score, time.time()
                )
            except UnknownRequest as error:
                unknown = error
            except SQLAlchemyError as error:
                logger.error(f"feedback: {error}")
                raise FeedbackUnavailable("The database of feedback does not answer") from error
        raise unknown

    def _flush(self, store: FeedbackStore) -> None:
        """Write all that waits in one transaction: under load, one sync for many requests."""
        rows, self._waiting = self._waiting, []
        try:
            store.remember(rows)
            if time.time() - self._forgot > FORGET_EVERY_S:
                self._forgot = time.time()
                store.forget(self._forgot - self._settings.keep_days * 86400)
        except SQLAlchemyError as error:
            logger.error(f"feedback: {len(rows)} requests were not kept: {error}")
            self._telemetry.not_kept(len(rows))
