"""What is kept of requests."""

from __future__ import annotations

from pydantic import Field

from serve.config.base import Section


class RecordSettings(Section):
    """What is kept of requests."""

    log: str | None = Field(
        default=None, description="file that gets a JSON line a request; none: no log"
    )
    database: str | None = Field(
        default=None,
        description="where feedback is kept: sqlite:///FILE, or postgresql+psycopg://...; none: "
        "no feedback is taken",
    )
    prompts: bool = Field(default=False, description="keep prompts in both; else they never leave")
    keep_days: float = Field(default=90, gt=0, description="in the database")
