"""How many replicas an expert needs now, and so how many are asked for (ours).

The need is the largest of these terms, each in replicas:

requests    those in the engines' batches, at `target_ongoing_requests` a replica, and beside them
            what it takes to work off those behind, waiting in an engine or on their way to one,
            within `drain_s`. How many a replica works off in that time is learned from those it
            finished. A queue is no load that lasts: counted like requests in a batch, what piles up
            during one cold start asks for many times the replicas that the load needs
tokens      prompt tokens that wait, at `target_waiting_tokens` a replica: few long prompts are
            as much work as many short ones
KV cache    what is in use of it, at `target_kv_use` of a replica's: a guard, since an engine
            without room puts off requests however few they are
decisions   of an ingress: each second, at `target_decisions_per_s` a replica

Each term is a total against what one replica takes, and the answer is a total as well: replicas
that are starting are neither counted as if they served nor asked for twice.

More are asked for once the need was there for `upscale_delay_s`; the delay is short, as what starts
is late by its whole cold start. Fewer are kept only when no moment of the last `downscale_delay_s`
needed more: the peak of a window (Kubernetes' autoscaler calls it stabilisation) holds through the
gaps of a bursty load, and where the load is even it is the random peaks that it holds, which is the
reserve that a queue needs. A constant need therefore settles at once and stays. A window as long as
a cold start keeps an idle replica for as long as it would take to come back.

The last replica goes when nothing was asked for `downscale_to_zero_delay_s`; the first request
brings it back without delay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Memory: TypeAlias = Mapping[str, float]
"""What the policy keeps between two calls; JSON-able. Empty at the start."""

SPEED_S = 60.0
"""What a replica finishes is a mean in which an observation counts 1/e after so many seconds."""

_SLOTS = 10
"""Parts of the window that each keep their peak: it is forgotten up to a tenth late."""

_ROUNDING = 1e-9
"""96 requests at 32 a replica are 3 replicas, also where they are a mean over samples."""

_ASKED, _ABOVE, _AT, _FINISHED, _BUSY, _PEAK = "asked", "above", "at", "finished", "busy", "peak:"


@dataclass(frozen=True)
class Demand:
    """What an expert is asked, now.

    Attributes:
        replicas: that run.
        target: that were asked for: they run or start.
        running: requests in the engines' batches, of all replicas together.
        waiting: requests in the engines' own queues.
        routed: requests that an ingress has sent there and no engine has seen yet, those that
            wait for a replica to wake up among them.
        waiting_tokens: prompt tokens of `waiting` and `routed`.
        kv_use: share of the KV cache in use, mean over replicas, 0..1.
        finished_per_s: requests that all replicas together complete. Where it is not known, 0, one
            that waits counts like one that runs.
        decisions_per_s: of an ingress, all replicas together.
    """

    replicas: int
    target: int
    running: float = 0.0
    waiting: float = 0.0
    routed: float = 0.0
    waiting_tokens: float = 0.0
    kv_use: float = 0.0
    finished_per_s: float = 0.0
    decisions_per_s: float = 0.0


@dataclass(frozen=True)
class ScalingRule:
    """Bounds, targets of one replica, and times in seconds; an infinite target is none."""

    min_replicas: int
    max_replicas: int
    target_ongoing_requests: float
    target_waiting_tokens: float = math.inf
    target_kv_use: float = math.inf
    target_decisions_per_s: float = math.inf
    drain_s: float = 0.0
    upscale_delay_s: float = 0.0
    downscale_delay_s: float = 0.0
    downscale_to_zero_delay_s: float = 0.0


def desired(
    demand: Demand, rule: ScalingRule, memory: Memory, now: float
) -> tuple[int, dict[str, float]]:
    """The replicas to ask for, and what to give the next call as `memory`.

    Args:
        demand: of this moment.
        rule: of the expert.
        memory: of the last call; empty at the first, which takes `demand.target` for needed.
        now: seconds of any monotonic clock, the same one in all calls.

    Returns:
        replicas: within [min_replicas, max_replicas].
        memory: JSON-able.
    """
    pace = _pace(demand, rule, memory, now)
    speed = pace[_FINISHED] / pace[_BUSY] if pace[_BUSY] > 0 else 0.0
    need = min(needed(demand, rule, speed), rule.max_replicas)
    asked = now if need > 0 or not memory else memory[_ASKED]
    peaks = _peaks(demand, need, rule, memory, now)
    kept: dict[str, float] = {_ASKED: asked, **pace, **peaks}
    if need > demand.target:
        above = memory.get(_ABOVE, now)
        # From zero nothing answers at all: no delay.
        if now - above >= rule.upscale_delay_s or demand.target == 0:
            return max(need, rule.min_replicas), kept
        return max(demand.target, rule.min_replicas), {**kept, _ABOVE: above}
    if now - asked >= rule.downscale_to_zero_delay_s and rule.min_replicas == 0 and need == 0:
        return 0, kept
    replicas = min(demand.target, max(1, int(max(peaks.values()))))
    return min(max(replicas, rule.min_replicas), rule.max_replicas), kept


def needed(demand: Demand, rule: ScalingRule, speed: float = 0.0) -> int:
    """Replicas that the demand needs, whatever the bounds and the past: the largest term.

    Args:
        demand: of this moment.
        rule: of the expert.
        speed: requests that a replica at its target completes a second; 0: not known.
    """
    drained = max(rule.target_ongoing_requests, speed * rule.drain_s)
    terms = (
        demand.running / rule.target_ongoing_requests + (demand.waiting + demand.routed) / drained,
        demand.waiting_tokens / rule.target_waiting_tokens,
        demand.replicas * demand.kv_use / rule.target_kv_use,
        demand.decisions_per_s / rule.target_decisions_per_s,
    )
    return math.ceil(max(terms) - _ROUNDING)


def _pace(demand: Demand, rule: ScalingRule, memory: Memory, now: float) -> dict[str, float]:
    """What was finished a second, and by how many busy replicas; both the means of one window.

    A replica with fewer requests than its target is busy in that proportion, one with more is busy.
    """
    busy = min(demand.running / rule.target_ongoing_requests, demand.replicas)
    if not memory:
        return {_AT: now, _FINISHED: demand.finished_per_s, _BUSY: busy}
    if busy == 0:  # an idle engine is not a slow one
        return {_AT: now, _FINISHED: memory[_FINISHED], _BUSY: memory[_BUSY]}
    old = math.exp((memory[_AT] - now) / SPEED_S)
    return {
        _AT: now,
        _FINISHED: old * memory[_FINISHED] + (1 - old) * demand.finished_per_s,
        _BUSY: old * memory[_BUSY] + (1 - old) * busy,
    }


def _peaks(
    demand: Demand, need: int, rule: ScalingRule, memory: Memory, now: float
) -> dict[str, float]:
    """The largest need of each slot that the window still reaches into, this moment's among them.

    Slot i holds the seconds [i * width, (i + 1) * width).
    """
    if rule.downscale_delay_s == 0:
        return {f"{_PEAK}0": need}
    width = rule.downscale_delay_s / _SLOTS
    slot = math.floor(now / width)
    oldest = math.floor((now - rule.downscale_delay_s) / width)
    peaks = {
        key: value
        for key, value in memory.items()
        if key.startswith(_PEAK) and oldest <= int(key[len(_PEAK) :]) <= slot
    }
    key = f"{_PEAK}{slot}"
    first = 0 if memory else demand.target
    peaks[key] = max(peaks.get(key, 0), need, first)
    return peaks
