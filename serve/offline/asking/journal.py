"""The journal of a run: every answer on a line of its own as soon as it is there, so that a kill at
any moment loses nothing that was finished.

The first line pins the run, and a later one what has come to it; the others are answers, of which
the later counts for a cell. A line is one write() to a file opened for appending, so only the last
one can be torn.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping
from dataclasses import asdict
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from serve.errors import TableError
from serve.offline.asking.ask import Answer

_ANSWER = TypeAdapter(Answer)
_PIN = b'{"run": '


class Journal:
    """Answers on disk, by cell; open it with `with`, which keeps every other process out.

    Args:
        file: made where it does not exist, with its folder.
        run: what the answers depend on, by name; a journal that pins another value of one is
            refused, one that lacks a name takes it on.

    Raises:
        TableError: the file is another run's, in use, or not a journal.
    """

    def __init__(self, file: Path, run: Mapping[str, str | int | bool]) -> None:
        self._name = file
        self._answers: dict[tuple[str, str], Answer] = {}
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = FileIO(file, "a+")
        try:
            self._lock()
            self._read(run)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    @property
    def answers(self) -> list[Answer]:
        """The last of every cell, failures included."""
        return list(self._answers.values())

    def finished(self, prompt: str, expert: str) -> bool:
        """Whether the cell has an answer; a failure is to be asked again."""
        answer = self._answers.get((prompt, expert))
        return answer is not None and answer.error is None

    def add(self, answer: Answer) -> None:
        """Keep one answer: on disk when this returns."""
        self._write(asdict(answer))
        self._answers[answer.prompt, answer.expert] = answer

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TableError(f"{self._name} is in use: another run writes it") from None

    def _read(self, run: Mapping[str, Any]) -> None:
        self._file.seek(0)
        text = self._file.readall()
        whole = text.rfind(b"\n") + 1
        lines = text[:whole].splitlines()
        pinned: dict[str, Any] = {}
        for number, line in enumerate(lines, start=1):
            if number == 1 or line.startswith(_PIN):
                pinned |= self._pinned(line)
                continue
            try:
                answer = _ANSWER.validate_json(line)
            except ValidationError:
                raise TableError(
                    f"{self._name}:{number} is not an answer; delete the line to ask it again"
                ) from None
            self._answers[answer.prompt, answer.expert] = answer
        self._require(pinned, run)
        self._file.truncate(whole)
        if run.keys() - pinned.keys():
            self._write({"run": {**pinned, **run}})

    def _pinned(self, line: bytes) -> dict[str, Any]:
        try:
            return dict(json.loads(line)["run"])
        except (ValueError, TypeError, KeyError):
            raise TableError(f"{self._name} is not a journal; name another folder") from None

    def _require(self, pinned: Mapping[str, Any], run: Mapping[str, Any]) -> None:
        for key in run.keys() & pinned.keys():
            if pinned[key] != run[key]:
                raise TableError(
                    f"{self._name} holds answers of another run: {key} was {pinned[key]!r} and is "
                    f"now {run[key]!r}; name another folder, or delete that file to ask everything "
                    "again"
                )

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line).encode() + b"\n")
