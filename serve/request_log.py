"""The gateway's request log: one JSON object a line, appended by every replica of a node.

A request has one, written once it is over: answered, refused, or given up by its client. Before an
answer began that is status 499; after, `counted` is false and there is no `error`. Only a body that
is not what its endpoint takes has none: nobody read it. In the order of what happened:

    time, request_id, endpoint        time.time() of its arrival; x-request-id; the path after /v1
    key, model, input_tokens,         who asked (local: no keys), auto or the expert it named, its
      max_tokens, wish, needs,          tokens as estimated, its own limit, its wish and needs,
      previous, bound_to                who answered the turn before, who has its tool loop
    router, objective, rule,          of a routed request: what decided, see protocol.Decision
      guarded, novelty, experts         experts: in the order to ask them, see protocol.Candidate
    decision_ms, stages_ms            where the time of the decision went
    challenger                        what the other router would have picked, and whether it acted
    expert, tried, cascade            who answered, [[expert, why not], ...] before, which tiers
    ttft_s, seconds                   from asking the expert to its first token; all of the request
    usage, counted, cost_usd, ...     tokens, by the engine's own count or ours; dollars
    status, error                     HTTP's, and what it was told where it got no whole answer

`messages` (or `prompt`, of a completion) are there only where the settings say `records.prompts`.
"""

from __future__ import annotations

import json
import logging
import mmap
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from serve.errors import SettingsError

logger = logging.getLogger("ray.serve")


class RequestLog:
    """Appends lines off the caller's thread; a line is one write, so replicas do not mix theirs.

    Args:
        file: its folder is made; the file may be cut (logrotate's copytruncate), not moved away.

    Raises:
        SettingsError: it cannot be opened.
    """

    def __init__(self, file: Path) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(file, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
        except OSError as error:
            raise SettingsError(
                f"records.log: {file} cannot be written: {error.strerror}"
            ) from None
        self._failing = False
        self._lines: SimpleQueue[Mapping[str, Any]] = SimpleQueue()
        threading.Thread(target=self._append, daemon=True, name="request-log").start()

    def write(self, record: Mapping[str, Any]) -> None:
        """Hand over one record."""
        self._lines.put(record)

    def _append(self) -> None:
        while True:
            line = json.dumps(self._lines.get(), ensure_ascii=False, separators=(",", ":"))
            try:
                os.write(self._descriptor, line.encode("utf-8", "surrogatepass") + b"\n")
            except OSError as error:  # a full disk: the line is lost, the next one may not be
                if not self._failing:
                    logger.error(f"The request log cannot be written: {error.strerror}")
                self._failing = True
            else:
                self._failing = False


def find(file: Path, request_id: str) -> dict[str, Any] | None:
    """The last record of a request; the log is searched from its end.

    Raises:
        SettingsError: there is no such log.
    """
    mark = f'"request_id":{json.dumps(request_id, ensure_ascii=False)}'.encode()
    try:
        with file.open("rb") as log, mmap.mmap(log.fileno(), 0, access=mmap.ACCESS_READ) as text:
            at = len(text)
            while (at := text.rfind(mark, 0, at)) >= 0:
                begin, end = text.rfind(b"\n", 0, at) + 1, text.find(b"\n", at)
                record = _record(text[begin : end if end >= 0 else len(text)])
                if record is not None and record.get("request_id") == request_id:
                    return record
    except OSError as error:
        raise SettingsError(f"{file}: no request log here ({error.strerror})") from None
    except ValueError:  # an empty file cannot be mapped
        return None
    return None


def read_log(file: Path) -> Iterator[dict[str, Any]]:
    """The records of a log, oldest first; a line that another program cut short is passed over."""
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if (record := _record(line)) is not None:
                yield record


def _record(line: str | bytes) -> dict[str, Any] | None:
    """What a line holds, unless another program cut it short."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
