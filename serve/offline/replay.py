"""What another router would have done with the requests that were logged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serve.encoding.prompt import chat_query, completion_query
from serve.errors import SettingsError
from serve.protocol import Decision, Query
from serve.request_log import read_log
from serve.routing.pipeline import RoutingPipeline


def logged_queries(file: Path, last: int) -> list[Query]:
    """The last so many routed requests of a log whose prompts were kept, oldest first.

    Raises:
        SettingsError: no such file, or no prompts in it.
    """
    try:
        routed = [record for record in read_log(file) if record.get("model") == "auto"]
    except OSError as error:
        raise SettingsError(f"{file}: no request log here ({error.strerror})") from None
    queries = [query for record in routed[-last:] if (query := _query(record)) is not None]
    if not queries:
        raise SettingsError(
            f"{file}: {len(routed)} routed requests, none with its prompt; records.prompts: true "
            "in the settings keeps them"
        )
    return queries


def replay(queries: Sequence[Query], served: RoutingPipeline, other: RoutingPipeline) -> str:
    """A table of both routers' picks: shares, quality and cost, each as `other` predicts them.

    Both are measured by one router's predictions, since those of two routers are not comparable.
    """
    reading = served.read(queries)
    mine, theirs = served.decide_on(reading, queries), other.decide_on(reading, queries)
    differ = sum(a.pick.expert != b.pick.expert for a, b in zip(mine, theirs, strict=True))
    rows = [
        ["", f"now {served.router}", f"then {other.router}"],
        ["---"] * 3,
        *(
            [f"share {name}", _share(mine, name), _share(theirs, name)]
            for name in sorted(candidate.expert for candidate in theirs[0].candidates)
        ),
        ["predicted quality", *(f"{_mean(p, theirs, 'quality'):.4f}" for p in (mine, theirs))],
        [
            "predicted USD per 1000",
            *(f"{1000 * _mean(p, theirs, 'cost_usd'):.5f}" for p in (mine, theirs)),
        ],
        ["decided by the guard", *(f"{_guarded(p):.0%}" for p in (mine, theirs))],
    ]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"{len(queries)} logged requests; {differ} would go to another expert\n\n{table}"


def _query(record: dict[str, Any]) -> Query | None:
    limit = record.get("max_tokens")
    if record.get("messages"):
        return chat_query(record["messages"], limit)
    if isinstance(record.get("prompt"), str):
        return completion_query(record["prompt"], limit)
    return None


def _share(decisions: Sequence[Decision], expert: str) -> str:
    return f"{sum(d.pick.expert == expert for d in decisions) / len(decisions):.0%}"


def _guarded(decisions: Sequence[Decision]) -> float:
    return sum(decision.guarded for decision in decisions) / len(decisions)


def _mean(picks: Sequence[Decision], judge: Sequence[Decision], term: str) -> float:
    """Mean over the requests of what the judge predicts for the expert that was picked."""
    values = [
        next(getattr(c, term) for c in said.candidates if c.expert == decision.pick.expert)
        for decision, said in zip(picks, judge, strict=True)
    ]
    return float(sum(values) / len(values))
