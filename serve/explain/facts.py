"""Why a request went where it did, and what would have changed it, from its record alone.

The record is a line of the log (request_log.py). Its experts are ranked anew, from its terms by the
rule that decided: so what is said of other terms is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import inf
from typing import Any

import numpy as np

from serve.routing.choice import Policy, Terms, rank
from serve.routing.objective import OBJECTIVES, Objective
from serve.routing.whatif import Change, least_change


@dataclass(frozen=True)
class Why:
    """What the ranking of one decision says of itself.

    Attributes:
        pick: who came first; None: nobody may be asked.
        passed_by: [(expert with more utility than the pick, why it did not come first), ...]
        without_conversation: who would have come first in a first turn, where it is another.
        guard: why the guard decided; None: it did not.
        changes: by expert, of those that may be asked and do not come first.
    """

    pick: str | None
    passed_by: list[tuple[str, str]]
    without_conversation: str | None
    guard: str | None
    changes: dict[str, Change]


def why(record: Mapping[str, Any]) -> Why | None:
    """Of a record; None where nothing was decided: the client named the expert, or was refused."""
    if "rule" not in record:
        return None
    rule, first = record["rule"], record["experts"][0]
    if first["barred"] is not None:
        return Why(None, [], None, _guard(record), {})
    rows = sorted(record["experts"], key=lambda row: int(rule["pool"].index(row["id"])))
    terms, objective, policy = _terms(rows, record), _objective(rule), _policy(rule)
    fresh = replace(terms, switch=np.zeros(len(rows)), moved=np.zeros(len(rows), bool))
    alone = rows[rank(fresh, objective, policy)[1][0]]["id"]
    return Why(
        first["id"],
        _passed_by(rows, first, record),
        alone if alone != first["id"] else None,
        _guard(record),
        {
            row["id"]: least_change(terms, objective, policy, i)
            for i, row in enumerate(rows)
            if terms.may[i] and row is not first
        },
    )


def as_json(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record and what is said of it, for a machine; an infinite lambda is null."""
    found = why(record)
    if found is None:
        return {"record": record, "why": None}
    told = asdict(found)
    told["passed_by"] = dict(found.passed_by)
    for change in told["changes"].values():
        if change["lam"] is not None:
            change["lam"] = [None if end == inf else end for end in change["lam"]]
    return {"record": record, "why": told}


def _terms(rows: Sequence[Mapping[str, Any]], record: Mapping[str, Any]) -> Terms:
    previous = record["previous"]

    def column(name: str) -> list[Any]:
        return [row[name] for row in rows]

    return Terms(
        np.array(column("quality")),
        np.array(column("cost_usd")),
        np.array(column("switch_usd")),
        np.array([previous not in (None, name) for name in column("id")]),
        np.array(column("seconds")),
        np.array(column("wake_s")) == 0,
        np.array([barred is None for barred in column("barred")]),
        record["wish"].get("fastest", False),
    )


def _objective(rule: Mapping[str, Any]) -> Objective:
    kind = OBJECTIVES[rule["kind"]]
    return kind(**{field.name: rule[field.name] for field in fields(kind)})


def _policy(rule: Mapping[str, Any]) -> Policy:
    return Policy(**{field.name: rule[field.name] for field in fields(Policy)})


def _guard(record: Mapping[str, Any]) -> str | None:
    if not record["guarded"]:
        return None
    if record["novelty"] is not None and record["novelty"] >= 1:
        return "the prompt is unlike any that the router was trained on"
    if "predict" not in record["stages_ms"]:
        return "the router's model did not answer"
    return "at this objective the router is not known to beat the best single expert"


def _passed_by(
    rows: Sequence[Mapping[str, Any]], pick: Mapping[str, Any], record: Mapping[str, Any]
) -> list[tuple[str, str]]:
    """The experts of more utility than the pick, and why they do not come first."""
    above = [row for row in rows if row["utility"] > pick["utility"]]
    may = [row for row in above if row["barred"] is None]
    best = min(may, key=lambda row: (-row["utility"], row["cost_usd"]), default=pick)
    return [(row["id"], _reason(row, best, pick, record)) for row in above]


def _reason(
    row: Mapping[str, Any],
    best: Mapping[str, Any],
    pick: Mapping[str, Any],
    record: Mapping[str, Any],
) -> str:
    loss, late_s = record["rule"]["quality_loss"], record["rule"]["late_s"]
    if row["barred"] is not None:
        return str(row["barred"])
    if record["wish"].get("fastest"):
        return f"the request wished the fastest within {loss:g} of the best quality"
    if row["quality"] < best["quality"] - loss:
        return f"its quality is more than {loss:g} below that of {best['id']}, which cannot be soon"
    own = "sleeps" if row["wake_s"] > 0 else f"is late: {row['seconds']:.1f} s, above {late_s:g}"
    return f"{own}; {pick['id']} comes sooner, at no more than {loss:g} less quality"
