"""Records as the gateway writes them, of decisions made here."""

from __future__ import annotations

import json

import numpy as np

from serve.online.record import decision_record
from serve.protocol import Decision, Expert, Query
from serve.routing.choice import Policy, choose
from serve.routing.objective import LinearCost

TOKENS = 100.0


def priced(usd):
    """An expert whose answers of TOKENS cost so much; its prompts are free."""
    return [Expert(f"e{i}", 0.0, each / TOKENS * 1e6) for i, each in enumerate(usd)]


def candidates(quality, usd, objective=None, policy=None, query=None, snapshot=None):
    """What routing.choice says; experts e0, e1, ... by their expected cost."""
    return choose(
        query or Query("q", 10),
        np.array(quality, dtype=float),
        np.full(len(usd), 10.0),
        np.full(len(usd), TOKENS),
        priced(usd),
        objective or LinearCost(1.0),
        policy=policy or Policy(),
        snapshot=snapshot or {},
        counted=[True] * len(usd),
    )


def record(quality, usd, objective=None, policy=None, query=None, snapshot=None, **more):
    """The line of the log of that decision."""
    objective, policy = objective or LinearCost(1.0), policy or Policy()
    query = query or Query("q", 10)
    made = candidates(quality, usd, objective, policy, query, snapshot)
    rule = {"kind": objective.kind, **vars(objective), **vars(policy), "exchange": 1.0}
    rule["pool"] = [expert.id for expert in priced(usd)]
    told = {name: more.pop(name) for name in ("guarded", "novelty") if name in more}
    told |= {"rule": rule, "previous": query.previous}
    decision = Decision(made, "toy@1", objective.formula, **told)
    base = {
        "time": 1_800_000_000.0,
        "request_id": "r1",
        "endpoint": "/chat/completions",
        "status": 200,
        "seconds": 1.5,
        "key": "alice",
        "model": "auto",
        "input_tokens": 10,
        "max_tokens": None,
        "wish": {"fastest": True} if query.wish.fastest else {},
        "needs": {},
        "bound_to": query.bound_to,
        **decision_record(decision),
        "decision_ms": 1.25,
        "stages_ms": {"queue": 0.1, "batch_wait": 0.2, "predict": 0.5},
    }
    return json.loads(json.dumps(base | more))


ANSWER = {
    "expert": "e0",
    "tried": [],
    "ttft_s": 0.25,
    "counted": True,
    "usage": {"input_tokens": 11, "output_tokens": 20},
    "cost_usd": 0.001,
    "cost_usd_priciest": 0.004,
    "cost_usd_best_single": 0.0005,
}
