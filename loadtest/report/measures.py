"""What a load is judged by, from raw samples: percentiles, rates, goodput, cost, shares.

    TTFT  from sending to the first content token
    TPOT  (E2E - TTFT) / (output tokens - 1)
    ITL   between one chunk with content and the next; all gaps of all answers
    E2E   from sending to the end of the stream

Latencies are those of whole answers; what failed counts in the error rate and against goodput.
Rates are over the wall time, from the first request sent to the last one ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from loadtest.report.samples import Sample
from loadtest.users.schedule import Stage

PERCENTILES = (50, 90, 95, 99)
TIMES = {"ttft": "s", "tpot": "s", "itl": "s", "e2e": "s", "decision": "ms"}
"""Measured as percentiles -> unit."""

AT_LEAST = ("requests_per_s", "tokens_per_s", "goodput_per_s", "goodput_share")
MEASURES = (
    *(f"{time}_p{q}_{unit}" for time, unit in TIMES.items() for q in PERCENTILES),
    *("error_rate", "usd_per_1000_requests"),
    *AT_LEAST,
)
"""All that can be an objective: those of AT_LEAST from below, the others from above."""


class Slo(BaseModel):
    """What a good answer keeps to; goodput counts those that keep to all that is given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ttft_s: float | None = Field(default=None, gt=0)
    tpot_s: float | None = Field(default=None, gt=0)
    e2e_s: float | None = Field(default=None, gt=0)

    def keeps(self, sample: Sample) -> bool:
        """Whether an answer is whole and within every limit that applies to it."""
        pairs = (
            (sample.ttft_s, self.ttft_s),
            (sample.tpot_s, self.tpot_s),
            (sample.e2e_s, self.e2e_s),
        )
        return sample.error is None and all(
            limit is None or value is None or value <= limit for value, limit in pairs
        )


def measure(samples: Sequence[Sample], slo: Slo) -> dict[str, float | None]:
    """Each of MEASURES; None where nothing was measured."""
    whole = [sample for sample in samples if sample.error is None]
    measured: dict[str, float | None] = {}
    for time, values in times(whole).items():
        for q, value in percentiles(values).items():
            measured[f"{time}_p{q}_{TIMES[time]}"] = value
    seconds = wall_s(samples)
    good = sum(slo.keeps(sample) for sample in samples)
    tokens = sum(sample.output_tokens for sample in whole)
    return {
        **measured,
        "error_rate": _ratio(len(samples) - len(whole), len(samples)),
        "usd_per_1000_requests": usd_per_1000(whole),
        "requests_per_s": _ratio(len(whole), seconds),
        "tokens_per_s": _ratio(tokens, seconds),
        "goodput_per_s": _ratio(good, seconds),
        "goodput_share": _ratio(good, len(samples)),
    }


def times(whole: Sequence[Sample]) -> dict[str, list[float]]:
    """Raw values of each of TIMES, of whole answers."""
    return {
        "ttft": [s.ttft_s for s in whole if s.ttft_s is not None],
        "tpot": [s.tpot_s for s in whole if s.tpot_s is not None],
        "itl": [gap for s in whole for gap in s.gaps_s],
        "e2e": [s.e2e_s for s in whole],
        "decision": [s.decision_ms for s in whole if s.decision_ms is not None],
    }


def percentiles(values: Sequence[float]) -> dict[int, float | None]:
    """Each of PERCENTILES of raw values, linear between two neighbours; None of none."""
    if not values:
        return dict.fromkeys(PERCENTILES)
    return dict(zip(PERCENTILES, np.percentile(values, PERCENTILES).tolist(), strict=True))


def usd_per_1000(whole: Sequence[Sample]) -> float | None:
    """Mean cost of 1,000 answers; None unless each one's is known, since a part could mislead."""
    costs = [sample.cost_usd for sample in whole if sample.cost_usd is not None]
    return 1000 * sum(costs) / len(costs) if costs and len(costs) == len(whole) else None


def wall_s(samples: Sequence[Sample]) -> float:
    """From the first request sent to the last one ended; 0 of none."""
    if not samples:
        return 0.0
    return max(s.sent_s + s.e2e_s for s in samples) - min(s.sent_s for s in samples)


def within(samples: Sequence[Sample], stage: Stage) -> list[Sample]:
    """Those sent in a stage."""
    return [sample for sample in samples if stage.start_s <= sample.sent_s < stage.end_s]


def tokens_within(whole: Sequence[Sample], stage: Stage) -> float:
    """Output tokens that came in a stage, each answer's spread evenly from TTFT to E2E."""
    total = 0.0
    for sample in whole:
        start, end = sample.sent_s + (sample.ttft_s or 0.0), sample.sent_s + sample.e2e_s
        inside = min(end, stage.end_s) - max(start, stage.start_s)
        total += sample.output_tokens * max(inside, 0.0) / (end - start)
    return total


def shares(whole: Sequence[Sample]) -> dict[str, float]:
    """Model -> share of the answers, greatest first."""
    counted = Counter(sample.expert for sample in whole)
    return {expert: count / len(whole) for expert, count in counted.most_common()}


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
