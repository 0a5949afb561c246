"""Replicas of one expert as discrete events: arrivals, completed answers, finished cold starts.

An engine batches continuously: each of its steps gives every running answer one token and takes
`step_s + step_slope_s * batch` seconds; a prompt holds the steps up for `prefill_s` a token. So all
answers of a batch advance alike, and a replica is one counter of steps and a number of it at which
each answer is complete. A request is admitted, first come first served, while the batch has room
and the KV cache can hold its prompt and whole answer (vLLM admits sooner and preempts).

A request goes to the shorter of two replicas drawn at random, as Ray Serve sends it, and stays
there. Where no replica serves, it waits for the first that does. A replica that goes finishes what
it has.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from loadtest.scaling.engines import Engine

ABSENT, STARTING, SERVING, DRAINING = 0, 1, 2, 3
NOBODY = -1

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class State(NamedTuple):
    """Everything that changes, as arrays, since they are what numba compiles for.

    Attributes:
        arrive, prompt, output: [n] seconds, tokens, tokens, of each request.
        draw: [n, 2] uniform in [0, 1): which two replicas it may go to.
        first, end: [n] seconds of its first and last token; NaN before.
        after: [n] the request behind it in its queue.
        phase, ready: [replicas] and when a cold start ends.
        steps, at, stall: [replicas] steps done at time `at`, seconds of prefill before the next.
        batch, waiting, kv: [replicas] answers that run, requests that wait, tokens reserved.
        event: [replicas] seconds of its next event; infinity where there is none.
        head, tail: [replicas + 1] of its queue; the last queue is of those that no replica serves.
        until, who: [replicas, max_batch] steps at which an answer is complete, and its request.
        serving: [replicas] those that serve, the first `count[SERVING_NOW]` of them.
        count: next arrival, replicas that serve, requests under way, of them unserved by any,
            answers complete.
        total: now, request-seconds under way, prompt tokens that wait.
        engine: step_s, step_slope_s, prefill_s, max_batch, kv_tokens.
    """

    arrive: Floats
    prompt: Floats
    output: Floats
    draw: Floats
    first: Floats
    end: Floats
    after: Ints
    phase: Ints
    ready: Floats
    steps: Floats
    at: Floats
    stall: Floats
    batch: Ints
    waiting: Ints
    kv: Floats
    event: Floats
    head: Ints
    tail: Ints
    until: Floats
    who: Ints
    serving: Ints
    count: Ints
    total: Floats
    engine: Floats


NEXT, SERVING_NOW, UNDER_WAY, UNSERVED, DONE = 0, 1, 2, 3, 4
NOW, AREA, WAITING_TOKENS = 0, 1, 2
_STEP, _SLOPE, _PREFILL, _MAX_BATCH, _KV = 0, 1, 2, 3, 4


def empty(
    arrive: Floats, prompt: Floats, output: Floats, draw: Floats, engine: Engine, replicas: int
) -> State:
    """Nothing runs yet; room for `replicas`, those that drain among them."""
    n, nan = len(arrive), np.nan
    return State(
        arrive,
        prompt,
        output,
        draw,
        first=np.full(n, nan),
        end=np.full(n, nan),
        after=np.full(n, NOBODY),
        phase=np.full(replicas, ABSENT),
        ready=np.zeros(replicas),
        steps=np.zeros(replicas),
        at=np.zeros(replicas),
        stall=np.zeros(replicas),
        batch=np.zeros(replicas, dtype=np.int64),
        waiting=np.zeros(replicas, dtype=np.int64),
        kv=np.zeros(replicas),
        event=np.full(replicas, np.inf),
        head=np.full(replicas + 1, NOBODY),
        tail=np.full(replicas + 1, NOBODY),
        until=np.zeros((replicas, engine.max_batch)),
        who=np.zeros((replicas, engine.max_batch), dtype=np.int64),
        serving=np.zeros(replicas, dtype=np.int64),
        count=np.zeros(5, dtype=np.int64),
        total=np.zeros(3),
        engine=np.array(
            [
                engine.step_s,
                engine.step_slope_s,
                engine.prefill_s,
                engine.max_batch,
                engine.kv_tokens,
            ]
        ),
    )


@njit(cache=True)
def start(s: State, replica: int, ready: float) -> None:
    """A cold start that ends at `ready`."""
    s.phase[replica] = STARTING
    s.event[replica] = s.ready[replica] = ready


@njit(cache=True)
def stop(s: State, replica: int) -> None:
    """It takes no more requests and ends when it has none."""
    idle = s.batch[replica] == 0
    s.phase[replica] = ABSENT if idle else DRAINING
    if idle:
        s.event[replica] = np.inf
    _list_serving(s)


@njit(cache=True)
def advance(s: State, until: float) -> tuple[int, int, int, int, float]:
    """Every event before `until`, in order.

    Returns:
        replicas that serve, replicas that there are, requests that run and that wait in engines,
        mean share of the KV cache in use; all of then.
    """
    while True:
        replica = np.argmin(s.event)
        event = s.event[replica]
        arrival = s.arrive[s.count[NEXT]] if s.count[NEXT] < len(s.arrive) else np.inf
        now = min(event, arrival, until)
        s.total[AREA] += s.count[UNDER_WAY] * (now - s.total[NOW])
        s.total[NOW] = now
        if now >= until:
            return _look(s)
        if arrival <= event:
            _arrived(s, now)
        elif s.phase[replica] == STARTING:
            _serves(s, replica, now)
        else:
            _completed(s, replica, now)


@njit(cache=True)
def _look(s: State) -> tuple[int, int, int, int, float]:
    serving, there, running, waiting, kv = 0, 0, 0, 0, 0.0
    for replica in range(len(s.phase)):
        there += s.phase[replica] != ABSENT
        running += s.batch[replica]
        waiting += s.waiting[replica]
        if s.phase[replica] == SERVING:
            serving += 1
            kv += s.kv[replica]
    return serving, there, running, waiting, kv / max(1, serving) / s.engine[_KV]


@njit(cache=True)
def _arrived(s: State, now: float) -> None:
    request = s.count[NEXT]
    s.count[NEXT] += 1
    s.count[UNDER_WAY] += 1
    s.total[WAITING_TOKENS] += s.prompt[request]
    serving = s.count[SERVING_NOW]
    if serving == 0:
        s.count[UNSERVED] += 1
        _queue(s, len(s.phase), request)
        return
    one = s.serving[int(s.draw[request, 0] * serving)]
    other = s.serving[int(s.draw[request, 1] * serving)]
    if s.batch[other] + s.waiting[other] < s.batch[one] + s.waiting[one]:
        one = other
    _send(s, one, request, now)


@njit(cache=True)
def _send(s: State, replica: int, request: int, now: float) -> None:
    _queue(s, replica, request)
    s.waiting[replica] += 1
    _settle(s, replica, now)
    _admit(s, replica, now)


@njit(cache=True)
def _serves(s: State, replica: int, now: float) -> None:
    s.phase[replica] = SERVING
    s.event[replica] = np.inf
    s.at[replica] = now
    s.stall[replica] = 0.0
    _list_serving(s)
    held = len(s.phase)
    while s.head[held] != NOBODY:
        request = _unqueue(s, held)
        s.count[UNSERVED] -= 1
        _send(s, replica, request, now)


@njit(cache=True)
def _completed(s: State, replica: int, now: float) -> None:
    _settle(s, replica, now)
    place = 0
    while place < s.batch[replica]:
        if s.until[replica, place] > s.steps[replica] + 1e-6:
            place += 1
            continue
        request = s.who[replica, place]
        s.end[request] = now
        s.kv[replica] -= s.prompt[request] + s.output[request]
        s.count[UNDER_WAY] -= 1
        s.count[DONE] += 1
        s.batch[replica] -= 1
        last = s.batch[replica]
        s.until[replica, place] = s.until[replica, last]
        s.who[replica, place] = s.who[replica, last]
    _admit(s, replica, now)
    if s.phase[replica] == DRAINING and s.batch[replica] == 0:
        s.phase[replica] = ABSENT


@njit(cache=True)
def _settle(s: State, replica: int, now: float) -> None:
    """Count the steps up to now."""
    passed = now - s.at[replica]
    held_up = min(passed, s.stall[replica])
    s.stall[replica] -= held_up
    if s.batch[replica] > 0:
        s.steps[replica] += (passed - held_up) / _step_s(s, replica)
    s.at[replica] = now


@njit(cache=True)
def _admit(s: State, replica: int, now: float) -> None:
    """Take from the queue what there is room for, and foresee the next completion."""
    while s.head[replica] != NOBODY and s.batch[replica] < s.engine[_MAX_BATCH]:
        request = s.head[replica]
        tokens = s.prompt[request] + s.output[request]
        if s.batch[replica] > 0 and s.kv[replica] + tokens > s.engine[_KV]:
            break
        _unqueue(s, replica)
        s.waiting[replica] -= 1
        s.total[WAITING_TOKENS] -= s.prompt[request]
        s.stall[replica] += s.prompt[request] * s.engine[_PREFILL]
        # A prompt's own pass gives the first token.
        s.first[request] = now + s.stall[replica]
        place = s.batch[replica]
        s.until[replica, place] = s.steps[replica] + s.output[request] - 1
        s.who[replica, place] = request
        s.kv[replica] += tokens
        s.batch[replica] += 1
    s.event[replica] = np.inf
    if s.batch[replica] > 0:
        soonest = s.until[replica, : s.batch[replica]].min()
        left = max(0.0, soonest - s.steps[replica]) * _step_s(s, replica)
        s.event[replica] = now + s.stall[replica] + left


@njit(cache=True)
def _step_s(s: State, replica: int) -> float:
    return s.engine[_STEP] + s.engine[_SLOPE] * s.batch[replica]


@njit(cache=True)
def _queue(s: State, queue: int, request: int) -> None:
    if s.head[queue] == NOBODY:
        s.head[queue] = request
    else:
        s.after[s.tail[queue]] = request
    s.tail[queue] = request
    s.after[request] = NOBODY


@njit(cache=True)
def _unqueue(s: State, queue: int) -> int:
    request = s.head[queue]
    s.head[queue] = s.after[request]
    return request


@njit(cache=True)
def _list_serving(s: State) -> None:
    s.count[SERVING_NOW] = 0
    for replica in range(len(s.phase)):
        if s.phase[replica] == SERVING:
            s.serving[s.count[SERVING_NOW]] = replica
            s.count[SERVING_NOW] += 1
