"""A prompt file: JSON lines, one prompt each.

    {"id": "facts-001", "task": "facts", "split": "train", "prompt": "...", "reference": "..."}

`messages` (OpenAI chat format) may stand in place of `prompt`; `split` is train or test.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from serve.config import describe
from serve.encoding.prompt import chat_query
from serve.errors import TableError


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str
    task: str
    split: Literal["train", "test"]
    reference: str
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None

    @model_validator(mode="after")
    def _one_of(self) -> _Line:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("exactly one of prompt and messages is required")
        return self


@dataclass(frozen=True)
class Prompt:
    """One prompt with its reference answer."""

    id: str
    task: str
    split: str
    messages: tuple[dict[str, Any], ...]
    reference: str

    @property
    def text(self) -> str:
        """What the router reads of it."""
        return chat_query(self.messages, None).text


def read_prompts(file: Path) -> list[Prompt]:
    """Every prompt of a file.

    Raises:
        TableError: names the line and the key.
    """
    prompts: dict[str, Prompt] = {}
    for number, text in enumerate(file.read_text().splitlines(), start=1):
        try:
            line = _Line.model_validate(json.loads(text))
        except ValidationError as error:
            raise TableError(f"{file}:{number}: {describe(error, _Line)}") from None
        except ValueError as error:
            raise TableError(f"{file}:{number}: not JSON: {error}") from error
        if line.id in prompts:
            raise TableError(f"{file}:{number}: id {line.id!r} is used twice")
        messages = line.messages or [{"role": "user", "content": line.prompt}]
        prompts[line.id] = Prompt(line.id, line.task, line.split, tuple(messages), line.reference)
    return list(prompts.values())
