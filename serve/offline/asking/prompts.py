"""A prompt file: JSON lines, one prompt each.

    {"id": "facts-001", "task": "facts", "split": "train", "prompt": "...", "reference": "..."}

`messages` (OpenAI chat format) may stand in place of `prompt`. All else is optional: the id is then
a hash of the messages, `split` is train or test, and `reference` is the answer to compare with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from serve.config import describe
from serve.encoding.prompt import chat_query
from serve.errors import TableError


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str | None = None
    task: str | None = None
    split: Literal["train", "test"] | None = None
    reference: str | None = None
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None

    @model_validator(mode="after")
    def _one_of(self) -> _Line:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("exactly one of prompt and messages is required")
        return self


@dataclass(frozen=True)
class Prompt:
    """One prompt, with its reference answer where one is known."""

    id: str
    task: str | None
    split: str | None
    messages: tuple[dict[str, Any], ...]
    reference: str | None

    @property
    def text(self) -> str:
        """What the router reads of it."""
        return chat_query(self.messages, None).text


def read_prompts(file: Path) -> list[Prompt]:
    """Every prompt of a file.

    Raises:
        TableError: names the line and the key, or the file that cannot be read or is empty.
    """
    prompts: dict[str, Prompt] = {}
    lines: dict[str, int] = {}
    for number, text in enumerate(read_lines(file), start=1):
        try:
            line = _Line.model_validate(json.loads(text))
        except ValidationError as error:
            raise TableError(f"{file}:{number}: {describe(error, _Line)}") from None
        except ValueError as error:
            raise TableError(f"{file}:{number}: not JSON: {error}") from error
        messages = line.messages or [{"role": "user", "content": line.prompt}]
        name = line.id or hash_id(messages)
        if name in prompts:
            what = f"id {name!r} is used twice" if line.id else "the prompt has no id and was there"
            raise TableError(f"{file}:{number}: {what}; before: line {lines[name]}")
        lines[name] = number
        prompts[name] = Prompt(name, line.task, line.split, tuple(messages), line.reference)
    if not prompts:
        raise TableError(f"{file} holds no prompt")
    return list(prompts.values())


def read_lines(file: Path) -> list[str]:
    """The lines of a file, blank ones at its end left out.

    Raises:
        TableError: it cannot be read.
    """
    try:
        text = file.read_text().rstrip()
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"{file} cannot be read: {error}") from None
    # Not splitlines: JSON strings may hold other line separators as they are.
    return text.split("\n") if text else []


def hash_id(messages: Sequence[dict[str, Any]]) -> str:
    """An id for a prompt without one: 16 hex digits of its content."""
    text = json.dumps(list(messages), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def evenly(prompts: Sequence[Prompt], wanted: int) -> list[Prompt]:
    """So many of them, evenly spread over their order, in which prompts of a kind often stand."""
    if wanted >= len(prompts):
        return list(prompts)
    return [prompts[i * len(prompts) // wanted] for i in range(wanted)]
