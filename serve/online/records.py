"""Keeps what the settings ask for of every dispatched request, off the request path."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from serve.config import RecordSettings
from serve.errors import FeedbackUnavailable, NotConfigured, UnknownRequest
from serve.feedback import MAX_ID, Dispatched, FeedbackStore
from serve.online.telemetry import Telemetry
from serve.protocol import Decision, Query
from serve.request_log import RequestLog
from serve.routing.rollout import Ruling

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

    def dispatched(
        self, request_id: str, body: Any, query: Query, expert: str, ruling: Ruling | None
    ) -> None:
        """One request goes to an expert; `ruling` is None where the client chose it.

        Args:
            request_id: the answer's x-request-id.
            body: a chat or completion request.
            query: what the router reads of it.
            expert: id.
            ruling: what the router said.
        """
        if self._log is not None:
            record = _record(request_id, body, query, expert, ruling)
            if self._settings.prompts:
                record.update(body.model_dump(mode="json", include={"messages", "prompt"}))
            self._log.write(record)
        if self._store is not None and len(request_id) <= MAX_ID:
            # PostgreSQL's text holds every character but NUL.
            prompt = query.text.replace("\0", "") if self._settings.prompts else None
            router = ruling.acting.router if ruling else ""
            self._waiting.append(Dispatched(request_id, time.time(), expert, router, prompt))
            if len(self._waiting) == 1:
                self._thread.submit(self._flush, self._store)

    async def score(self, request_id: str, score: float) -> None:
        """Keep a score durably.

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


def _record(
    request_id: str, body: Any, query: Query, expert: str, ruling: Ruling | None
) -> dict[str, Any]:
    record = {
        "time": round(time.time(), 3),
        "request_id": request_id,
        "model": body.model if ruling is None else "auto",
        "expert": expert,
        "input_tokens": query.input_tokens,
        "max_tokens": query.max_output_tokens,
    }
    if ruling is not None:
        record |= decision_record(ruling.acting)
        if ruling.challenger is not None:
            record["challenger"] = {
                "router": ruling.challenger.router,
                "pick": ruling.challenger.pick.expert,
                "canary": ruling.canary,
            }
    return record


def decision_record(decision: Decision) -> dict[str, Any]:
    """A decision as JSON: what /v1/route answers and the log keeps."""
    return {
        "router": decision.router,
        "objective": decision.objective,
        "guarded": decision.guarded,
        "novelty": decision.novelty,
        "experts": [
            {
                "id": candidate.expert,
                "quality": candidate.quality,
                "cost_usd": candidate.cost_usd,
                "utility": candidate.utility,
                "input_tokens": candidate.input_tokens,
                "output_tokens": round(candidate.output_tokens, 1),
                "seconds": round(candidate.seconds, 4),
                "switch_usd": candidate.switch_usd,
                "wake_s": round(candidate.wake_s, 1),
                "barred": candidate.bar and candidate.bar.reason,
            }
            for candidate in decision.candidates
        ],
    }
