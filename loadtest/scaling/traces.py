"""Arrivals that no autoscaler is ready for, and one that it should be.

bursty   Poisson, its rate switched by a Markov chain: 4 times the calm rate for 2 minutes in 12
diurnal  a day as a sinusoid of 1 to 9, with noise that lasts minutes
flash    twice, for 10 minutes at once 10 times as many

Prompts and answers are lognormal with the median and mean of the conversations in the Azure LLM
inference trace: 1,020 and 1,155 tokens, 129 and 211 tokens (arXiv 2311.18677, and its data set).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PROMPT, ANSWER = (1020, 1155), (129, 211)
"""Median and mean, tokens."""

HOUR = 3600


class Trace(NamedTuple):
    """Requests in the order of their arrival: seconds, prompt tokens, answer tokens."""

    seconds: float
    arrive: Floats
    prompt: Floats
    output: Floats


def bursty(seconds: int, random: Generator) -> Floats:
    """[seconds] rate of each second; mean 1."""
    rate = np.empty(seconds)
    at, high = 0, False
    while at < seconds:
        stay = max(1, int(random.exponential(120 if high else 600)))
        rate[at : at + stay] = 4.0 if high else 1.0
        at, high = at + stay, not high
    return rate / 1.5


def diurnal(seconds: int, random: Generator) -> Floats:
    """[seconds] rate of each second; mean about 1; night at the ends."""
    day = 1 - 0.8 * np.cos(2 * math.pi * np.arange(seconds) / seconds)
    minutes = np.zeros(seconds // 60 + 1)
    for i in range(1, len(minutes)):
        minutes[i] = 0.8 * minutes[i - 1] + random.normal(0, 0.1)
    return day * np.exp(np.repeat(minutes, 60)[:seconds])


def flash(seconds: int, random: Generator) -> Floats:
    """[seconds] rate of each second; 1 but for the crowds."""
    rate = np.ones(seconds)
    for third in (1, 2):
        begin = third * seconds // 3 + int(random.integers(-300, 300))
        rate[begin : begin + 600] = 10.0
    return rate


TRACES: dict[str, tuple[Callable[[int, Generator], Floats], int]] = {
    "bursty": (bursty, 3 * HOUR),
    "diurnal": (diurnal, 24 * HOUR),
    "flash": (flash, 3 * HOUR),
}
"""Name -> shape and seconds."""


def trace(name: str, mean_rate: float, random: Generator, seconds: int | None = None) -> Trace:
    """Requests at `mean_rate` a second, in the shape of this name."""
    shape, usual = TRACES[name]
    seconds = seconds or usual
    counts = random.poisson(shape(seconds, random) * mean_rate)
    n = int(counts.sum())
    arrive = np.sort(np.repeat(np.arange(seconds), counts) + random.random(n))
    return Trace(seconds, arrive, _tokens(PROMPT, n, random), _tokens(ANSWER, n, random))


def _tokens(median_mean: tuple[int, int], n: int, random: Generator) -> Floats:
    median, mean = median_mean
    spread = math.sqrt(2 * math.log(mean / median))
    return np.ceil(random.lognormal(math.log(median), spread, n)).clip(1, 8192)
