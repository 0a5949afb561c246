"""The gateway's request log (serve/request_log.py) -> prompts of a user's own traffic."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from serve.config import describe
from serve.errors import TableError
from serve.offline.asking.prompts import Prompt, hash_id, read_lines


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore")

    messages: list[dict[str, Any]] | None = None


def read_logged(files: Sequence[Path]) -> list[Prompt]:
    """Every different chat of some log files, in the order of its first request.

    Prints how many lines had none, and how many chats came again.

    Raises:
        TableError: names the line that is not of a request log, or says that none has messages.
    """
    prompts: dict[str, Prompt] = {}
    lines = without = 0
    for file in files:
        for number, text in enumerate(read_lines(file), start=1):
            lines += 1
            messages = _messages(text, f"{file}:{number}")
            if not messages:
                without += 1
                continue
            name = hash_id(messages)
            prompts.setdefault(name, Prompt(name, None, None, tuple(messages), None))
    where = ", ".join(str(file) for file in files)
    if not prompts:
        raise TableError(
            f"{where}: none of {lines} lines has messages; the gateway logs them with "
            "records.prompts: true in its settings"
        )
    again = lines - without - len(prompts)
    print(
        f"{where}: {len(prompts)} different prompts in {lines} lines; "
        f"{again} came again, {without} have no messages"
    )
    return list(prompts.values())


def _messages(text: str, where: str) -> list[dict[str, Any]] | None:
    try:
        return _Line.model_validate(json.loads(text)).messages
    except ValidationError as error:
        raise TableError(f"{where}: {describe(error, _Line)}") from None
    except ValueError as error:
        raise TableError(f"{where}: not JSON: {error}") from error
