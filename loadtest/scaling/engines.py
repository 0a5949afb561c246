"""How fast an engine is, from a measurement of vLLM at several numbers of clients.

A measurement is what `vllm bench serve --max-concurrency` or loadtest/front.py prints: prompts and
answers of one length, and for each number of clients, all of them always waiting for an answer, the
tokens/s of all together and the median seconds to the first token. engines.json holds ours and a
published one; `--engines FILE` names another file of that form.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

ENGINES = Path(__file__).with_suffix(".json")


@dataclass(frozen=True)
class Engine:
    """Seconds of its work, its room, and the latency that its users are promised.

    Attributes:
        step_s, step_slope_s: a step of a batch of b takes step_s + step_slope_s * b seconds.
        prefill_s: seconds that a prompt token holds the steps up.
        max_batch: answers at once.
        kv_tokens: that the KV cache holds.
        first_token_s, token_s: seconds to the first token, and mean seconds a token after it,
            at most.
    """

    step_s: float
    step_slope_s: float
    prefill_s: float
    max_batch: int
    kv_tokens: int
    first_token_s: float
    token_s: float


def load(file: Path, name: str) -> Engine:
    """The engine of this name, its constants fitted to the measurement in the file."""
    entry = json.loads(file.read_text())[name]
    limits = {key: entry[key] for key in ("max_batch", "kv_tokens", "first_token_s", "token_s")}
    return Engine(*fit(entry), **limits)


def fit(measured: dict[str, Any]) -> tuple[float, float, float]:
    """step_s, step_slope_s, prefill_s.

    A second is full: of rate * prompt_tokens * prefill_s, and of rate * output_tokens / clients
    steps. With prompts of one length prefill and slope are one column, so prefill_s comes from the
    time to the first token at the fewest clients, where a prompt waits for a step and for itself.
    Then the two constants of a step are least squares, neither below 0.
    """
    clients = np.array(measured["clients"], dtype=float)
    rate = np.array(measured["output_tokens_per_s"]) / measured["output_tokens"]
    steps = rate * (measured["output_tokens"] - 1) / clients
    prompt, first = measured["prompt_tokens"], measured["ttft_s"][0]
    prefill = first / prompt
    for _ in range(50):
        busy = 1 - rate * prompt * prefill
        (step, slope), _ = nnls(np.stack([steps, steps * clients], axis=1), busy)
        prefill = (first - step - slope * clients[0]) / prompt
    return float(step), float(slope), float(prefill)
