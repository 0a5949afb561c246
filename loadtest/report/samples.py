"""What came of each request of a load: one JSON line each, nothing rounded away or summed up."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO


@dataclass(frozen=True)
class Sample:
    """One request; times in seconds.

    Attributes:
        sent_s: since the load began.
        e2e_s: from sending to the end of the stream.
        ttft_s: from sending to the first content token; None: none came.
        gaps_s: between one chunk with content and the next.
        output_tokens: as the endpoint's usage counts, or else chunks with content.
        from_usage: whether usage was there.
        expert: who answered, as the endpoint names it; the model asked where it does not.
        task: of the prompt, where its file says.
        turn: of a conversation, from 1; None: a question by itself.
        decision_ms: what the router took, where the endpoint tells.
        cost_usd: of the answer, where it or a price is known.
        error: why there is no whole answer; None: there is one.
    """

    sent_s: float
    e2e_s: float
    ttft_s: float | None
    gaps_s: list[float]
    output_tokens: int
    from_usage: bool
    expert: str
    task: str | None
    turn: int | None
    decision_ms: float | None
    cost_usd: float | None
    error: str | None

    @property
    def tpot_s(self) -> float | None:
        """Time per output token after the first; None of fewer than two tokens."""
        if self.ttft_s is None or self.output_tokens < 2:
            return None
        return (self.e2e_s - self.ttft_s) / (self.output_tokens - 1)


def write(sample: Sample, file: TextIO) -> None:
    """Add a line; it is there whatever becomes of this process."""
    print(json.dumps(asdict(sample)), file=file, flush=True)


def read(file: Path) -> list[Sample]:
    """All lines of a file that `write` wrote."""
    return [Sample(**json.loads(line)) for line in file.read_text().splitlines()]
