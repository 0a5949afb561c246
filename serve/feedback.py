"""What users thought of answers, kept in SQLite on one node or PostgreSQL on a cluster.

    requests(request_id, at, expert, router, prompt)    every dispatched request
    feedback(request_id, score, at)                     at most one a request

`prompt` is the routing text, and empty unless the settings say `records.prompts`: a score can then
be counted, not learned from.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import (
    Column,
    Engine,
    Float,
    ForeignKey,
    MetaData,
    Table,
    Text,
    create_engine,
    delete,
    event,
    insert,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from serve.errors import RepeatedFeedback, SettingsError, UnknownRequest

MAX_ID = 1024
"""Characters of a request id; a client may send its own, and an index entry has a limit."""

BUSY_TIMEOUT_S = 30
"""How long one replica waits for another's write to SQLite."""

_METADATA = MetaData()
REQUESTS = Table(
    "requests",
    _METADATA,
    Column("request_id", Text, primary_key=True),
    Column("at", Float, nullable=False, index=True),
    Column("expert", Text, nullable=False),
    Column("router", Text, nullable=False),
    Column("prompt", Text),
)
FEEDBACK = Table(
    "feedback",
    _METADATA,
    Column(
        "request_id",
        Text,
        ForeignKey("requests.request_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("score", Float, nullable=False),
    Column("at", Float, nullable=False),
)


@dataclass(frozen=True)
class Dispatched:
    """One request that was sent to an expert.

    Attributes:
        request_id: the answer's x-request-id.
        at: seconds since the epoch.
        expert: who answered.
        router: name and version of the artifact that chose; empty where the client did.
        prompt: routing text, or None where prompts are not kept.
    """

    request_id: str
    at: float
    expert: str
    router: str
    prompt: str | None


@dataclass(frozen=True)
class Scored:
    """A score, 0..1, of an expert's answer to a prompt."""

    prompt: str
    expert: str
    score: float


class FeedbackStore:
    """One process's door to the database; its calls block.

    Args:
        url: of SQLAlchemy: sqlite:///FILE or postgresql+psycopg://...

    Raises:
        SettingsError: no such driver, or the database cannot be opened.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
            if parsed.get_backend_name() not in ("sqlite", "postgresql"):
                raise SettingsError(
                    f"records.database: {url!r} is neither sqlite nor postgresql+psycopg"
                )
            self._is_sqlite = parsed.get_backend_name() == "sqlite"
            if self._is_sqlite and parsed.database:
                file = Path(parsed.database).expanduser()
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch(mode=0o600)  # it may hold prompts
                parsed = parsed.set(database=str(file))
            self._engine = _engine(parsed.render_as_string(hide_password=False))
            _METADATA.create_all(self._engine)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            raise SettingsError(f"records.database: {error}") from None
        except (SQLAlchemyError, OSError) as error:
            cause = str(error).splitlines()[0]
            raise SettingsError(f"records.database: cannot be opened: {cause}") from None

    def remember(self, requests: Sequence[Dispatched]) -> None:
        """Keep requests; of a request id that a client used twice, the first."""
        rows = [asdict(request) for request in requests]
        dialect = sqlite if self._is_sqlite else postgresql
        statement = dialect.insert(REQUESTS).on_conflict_do_nothing()
        with self._engine.begin() as connection:
            connection.execute(statement, rows)

    def score(self, request_id: str, score: float, at: float) -> str:
        """Keep one score; durable when this returns who answered.

        Raises:
            UnknownRequest: no such request was dispatched, or it is older than keep_days.
            RepeatedFeedback: it has a score already; that one stays.
        """
        known = select(REQUESTS.c.expert).where(REQUESTS.c.request_id == request_id)
        given = {"request_id": request_id, "score": score, "at": at}
        with self._engine.begin() as connection:
            expert = connection.execute(known).scalar()
            if expert is None:
                raise UnknownRequest(
                    f"No request {request_id!r} was answered here", param="request_id"
                )
            try:
                connection.execute(insert(FEEDBACK), given)
            except IntegrityError:
                raise RepeatedFeedback(
                    f"Request {request_id!r} has its score already", param="request_id"
                ) from None
        return str(expert)

    def forget(self, before: float) -> None:
        """Drop requests older than that, with their scores."""
        with self._engine.begin() as connection:
            connection.execute(delete(REQUESTS).where(REQUESTS.c.at < before))

    def scored(self) -> tuple[list[Scored], int]:
        """Every score with its prompt, oldest first; and how many have none."""
        joined = select(REQUESTS.c.prompt, REQUESTS.c.expert, FEEDBACK.c.score).join(FEEDBACK)
        with self._engine.connect() as connection:
            rows = connection.execute(joined.order_by(FEEDBACK.c.at, REQUESTS.c.request_id)).all()
        kept = [Scored(prompt, expert, score) for prompt, expert, score in rows if prompt]
        return kept, len(rows) - len(kept)


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def _settings(connection: sqlite3.Connection, record: object) -> None:
        # WAL: readers and the one writer do not wait for each other. FULL: a commit is on disk.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    return engine
