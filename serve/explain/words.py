"""The whole story of one request in plain text, from its record and what facts.py finds in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from math import inf
from typing import Any

import numpy as np

from serve.explain.facts import Why, why
from serve.routing.objective import tradeoff_of
from serve.routing.whatif import Change

Record = Mapping[str, Any]

_HEAD = ("", "quality", "cost USD", "utility", "tokens", "seconds", "switch USD", "wake s", "")


def text(record: Record) -> str:
    """For a person to read."""
    found = why(record)
    parts = [_asked(record)]
    if found is not None:
        parts += [_decided(record), _table(record["experts"], found), _because(found)]
    parts.append(_answered(record))
    if found is not None and found.changes:
        parts.append(_changes(record, found))
    blocks = ["\n".join(lines) for lines in map(list, parts) if lines]
    return "\n\n".join(blocks)


def _asked(record: Record) -> Iterator[str]:
    at = datetime.fromtimestamp(record["time"], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    yield (
        f"Request {record['request_id']}, {at}: /v1{record['endpoint']}, status "
        f"{record['status']} after {record['seconds']:.3f} s"
    )
    if "key" not in record:
        return
    answer = record["max_tokens"]
    limit = "" if answer is None else f", an answer of at most {answer}"
    yield (
        f"Asked by {record['key']} for {record['model'] or 'auto'}: about "
        f"{record['input_tokens']} tokens{limit}"
    )
    for name in ("wish", "needs"):
        if record[name]:
            yield f"  {name}: " + ", ".join(f"{k} {_plain(v)}" for k, v in record[name].items())
    if record["bound_to"] is not None:
        yield f"  in a tool loop with {record['bound_to']}, so no other may answer"
    elif record["previous"] is not None:
        yield f"  in a conversation that {record['previous']} answered before"


def _decided(record: Record) -> Iterator[str]:
    stages = ", ".join(f"{name} {ms:.2f}" for name, ms in record["stages_ms"].items())
    took = f"{record['decision_ms']:.2f} ms" + (f" ({stages})" if stages else "")
    yield f"Decided by {record['router']} in {took}"
    yield f"Utility: {record['objective']}"
    novelty = record["novelty"]
    if novelty is not None and novelty < 1:
        yield (
            f"Novelty {novelty:.2f}: {novelty:.0%} of the training prompts lie nearer to the "
            "others than this prompt does"
        )
    if "challenger" in record:
        other = record["challenger"]
        part = "decided this request" if other["canary"] else "only watched"
        yield f"Challenger {other['router']} picks {other['pick']}; it {part}"


def _table(rows: Sequence[Record], found: Why) -> Iterator[str]:
    cells = [_HEAD, *(_row(row, found) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(_HEAD))]
    for row in cells:
        name, *numbers, barred = row
        columns = [n.rjust(w) for n, w in zip(numbers, widths[1:-1], strict=True)]
        yield "  ".join([name.ljust(widths[0]), *columns, barred]).rstrip()


def _row(row: Record, found: Why) -> tuple[str, ...]:
    return (
        ("* " if row["id"] == found.pick else "  ") + row["id"],
        f"{row['quality']:.4f}",
        _number(row["cost_usd"]),
        f"{row['utility']:.4f}",
        f"{row['input_tokens']} + {row['output_tokens']:.0f}",
        f"{row['seconds']:.2f}",
        _number(row["switch_usd"]),
        f"{row['wake_s']:.0f}",
        f"barred: {row['barred']}" if row["barred"] else "",
    )


def _because(found: Why) -> Iterator[str]:
    if found.guard is not None:
        yield f"The guard decided, by every expert's means: {found.guard}"
    if found.pick is None:
        yield "No expert might be asked"
        return
    yield f"{found.pick} comes first" + ("" if found.passed_by else ", of the highest utility")
    for name, reason in found.passed_by:
        yield f"  not {name}, of more utility: {reason}"
    if found.without_conversation is not None:
        yield f"  in a first turn it would have been {found.without_conversation}"


def _answered(record: Record) -> Iterator[str]:
    for name, reason in record.get("tried", ()):
        yield f"{name} did not answer: {reason}"
    if "cascade" in record:
        yield f"A cascade, by tier and its certainty: {record['cascade']}"
    if "usage" in record:
        yield f"{record['expert']} answered{_pace(record)}"
        yield _paid(record)
    if "error" in record:
        yield f"It ended in an error: {record['error']}"


def _pace(record: Record) -> str:
    first = record["ttft_s"]
    usage = record["usage"]
    by = "by its own count" if record["counted"] else "by our count, since it came to no end"
    began = "" if first is None else f", first token after {first:.3f} s"
    return f"{began}: {usage['input_tokens']} + {usage['output_tokens']} tokens, {by}"


def _paid(record: Record) -> str:
    beside = ", ".join(
        f"{who} {_number(record[name])} ({_net(record[name] - record['cost_usd'])})"
        for who, name in (
            ("the best single expert", "cost_usd_best_single"),
            ("the priciest", "cost_usd_priciest"),
        )
    )
    return f"Cost {_number(record['cost_usd'])} USD; for as many tokens {beside}"


def _net(saved: float) -> str:
    if saved == 0:
        return "as much"
    return f"{'saved' if saved > 0 else 'lost'} {_number(abs(saved))}"


def _changes(record: Record, found: Why) -> Iterator[str]:
    yield "What would have put another first, each by itself and all else the same:"
    width = max(map(len, found.changes))
    for row in record["experts"]:
        if row["id"] in found.changes:
            said = "; or ".join(_change(row, record, found.changes[row["id"]]))
            yield f"  {row['id'].ljust(width)}  {said or 'no quality, cost, time or lambda'}"


def _change(row: Record, record: Record, change: Change) -> Iterator[str]:
    if change.quality is not None:
        more = change.quality - row["quality"]
        yield f"quality above {change.quality:.4f} ({_number(more) if more else 'any'} more)"
    if change.cost_usd is not None:
        less = row["cost_usd"] - change.cost_usd
        yield f"cost below {_number(change.cost_usd)} USD ({_number(less) if less else 'any'} less)"
    if change.seconds is not None:
        yield f"an answer within {change.seconds:.2f} s"
    if change.lam is not None:
        yield _lambdas(*change.lam, record)


def _lambdas(low: float, high: float, record: Record) -> str:
    """In tradeoffs too, where the pool has an exchange for them."""
    exchange = record["rule"]["exchange"]

    def end(lam: float) -> str:
        return _number(lam) + (f" (tradeoff {tradeoff_of(lam, exchange):.3f})" if exchange else "")

    if low <= 0:
        return f"lambda below {end(high)}"
    if high == inf:
        return f"lambda above {end(low)}"
    return f"lambda from {end(low)} to {end(high)}"


def _number(value: float) -> str:
    """Three digits, and no exponent."""
    return np.format_float_positional(value, 3, fractional=False, trim="-")


def _plain(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return "yes" if value is True else str(value)
