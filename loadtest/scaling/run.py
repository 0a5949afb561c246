"""One expert, one trace, one policy: what its users saw and what its replicas cost."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from loadtest.scaling import cluster
from loadtest.scaling.cluster import State
from loadtest.scaling.engines import Engine
from loadtest.scaling.policies import Policy, Seen
from loadtest.scaling.traces import Trace
from serve.routing.scaling import Demand

TICK_S = 10.0
"""Between two decisions; what a policy is told is the mean over it. Ray Serve's handles report as
often by default. The adapter of ours has them report each second, which is not used here."""

LOOK_BACK_S = 30.0
"""Ray Serve's default."""

COLD_START_S = (30.0, 180.0)

WARM_UP_S = 900.0
"""Not judged: every policy starts with one replica."""


@dataclass
class Outcome:
    """Sums, so that experts and seeds add up.

    Attributes:
        requests, inside: that arrived, and those of them within their latency objective.
        replica_s: seconds of a replica, from asked for to gone.
        changes: of the target.
        calls, policy_s: decisions, and the seconds that they took.
        peak: replicas at once.
    """

    requests: int = 0
    inside: int = 0
    replica_s: float = 0.0
    changes: int = 0
    calls: int = 0
    policy_s: float = 0.0
    peak: int = 0

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            *(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True))
        )

    @property
    def attainment(self) -> float:
        """Share of the requests inside their objective."""
        return self.inside / self.requests

    @property
    def replica_hours(self) -> float:
        """Of all replicas."""
        return self.replica_s / 3600


def run(trace: Trace, engine: Engine, policy: Policy, random: Generator, room: int) -> Outcome:
    """From one replica that serves to the end of the trace.

    Args:
        trace: of this expert.
        engine: of each of its replicas.
        policy: that has decided nothing yet.
        random: of the cold starts and of the choice between replicas.
        room: replicas that may be there at once, those that drain among them.
    """
    draw = random.random((len(trace.arrive), 2))
    state = cluster.empty(trace.arrive, trace.prompt, trace.output, draw, engine, room)
    cluster.start(state, 0, 0.0)
    outcome, target = Outcome(), 1
    means: deque[float] = deque(maxlen=round(LOOK_BACK_S / TICK_S))
    for tick in range(1, int(trace.seconds / TICK_S)):
        now = tick * TICK_S
        area, done = state.total[cluster.AREA], state.count[cluster.DONE]
        serving, there, running, waiting, kv_use = cluster.advance(state, now)
        means.append(float(state.total[cluster.AREA] - area) / TICK_S)
        unserved = int(state.count[cluster.UNSERVED])
        # In the engines' mix of now, as many as there were in the mean over the last seconds.
        scale = means[-1] / max(1, running + waiting + unserved)
        demand = Demand(
            replicas=serving,
            target=target,
            running=running * scale,
            waiting=waiting * scale,
            routed=unserved * scale,
            waiting_tokens=float(state.total[cluster.WAITING_TOKENS]),
            kv_use=kv_use,
            finished_per_s=float(state.count[cluster.DONE] - done) / TICK_S,
        )
        seen = Seen(now, demand, sum(means) / len(means))
        start = time.perf_counter()
        wanted = policy(seen)
        outcome.policy_s += time.perf_counter() - start
        outcome.calls += 1
        if wanted != target:
            outcome.changes += 1
            _scale(state, target, wanted, now, random)
            target = wanted
        if now > WARM_UP_S:
            outcome.replica_s += there * TICK_S
            outcome.peak = max(outcome.peak, there)
    cluster.advance(state, trace.seconds + 3600.0)
    judged = (trace.arrive > WARM_UP_S) & (trace.arrive < trace.seconds - TICK_S)
    outcome.requests = int(judged.sum())
    outcome.inside = int((inside(state, engine) & judged).sum())
    return outcome


def inside(state: State, engine: Engine) -> np.ndarray:
    """[n] whether a request's first token and its later ones came in time; unanswered ones no."""
    first = state.first - state.arrive <= engine.first_token_s
    token = (state.end - state.first) / np.maximum(1, state.output - 1) <= engine.token_s
    return first & token


def _scale(state: State, target: int, wanted: int, now: float, random: Generator) -> None:
    if wanted > target:
        for replica in np.flatnonzero(state.phase == cluster.ABSENT)[: wanted - target]:
            cluster.start(state, replica, now + random.uniform(*COLD_START_S))
    elif wanted < target:
        # Ray Serve lets go of what does not serve yet first.
        there = np.flatnonzero((state.phase == cluster.STARTING) | (state.phase == cluster.SERVING))
        load = np.where(
            state.phase[there] == cluster.STARTING, -1, (state.batch + state.waiting)[there]
        )
        for replica in there[np.argsort(load, kind="stable")][: target - wanted]:
            cluster.stop(state, replica)
