"""The Markdown that `pointsman evaluate` prints, from the rows alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from serve.offline.results import DEFAULT, Row, interval

SIGNIFICANT = 0.05
HEADLINE = ("best_single", "random", "oracle", "accuracy", "cost_ratio", "area", "zero_area")
SAFE = 0.005
"""What a router may lose and still be called safe, in quality."""

ROUNDING = 1e-9


def sign_test(first: Sequence[float], second: Sequence[float]) -> tuple[int, int, float]:
    """Paired: how often first is above second, of how many untied pairs, and the two-sided p."""
    untied = [(a, b) for a, b in zip(first, second, strict=True) if a != b]
    above = sum(a > b for a, b in untied)
    p = stats.binomtest(above, len(untied)).pvalue if untied else 1.0
    return above, len(untied), float(p)


def markdown(rows: Sequence[Row]) -> str:
    """A section for each table and protocol, after a summary for each protocol with many tables.

    Tables and routers stand in the order in which they are first seen.
    """
    sections = dict.fromkeys((row.table, row.protocol) for row in rows)
    protocols = dict.fromkeys(protocol for _, protocol in sections)
    parts = [
        _summary([row for row in rows if row.protocol == protocol], protocol)
        for protocol in protocols
        if len([key for key in sections if key[1] == protocol]) > 1
    ]
    parts += [_section([r for r in rows if (r.table, r.protocol) == key], *key) for key in sections]
    return "\n\n".join(parts) + "\n"


def _summary(rows: Sequence[Row], protocol: str) -> str:
    tables = list(dict.fromkeys(row.table for row in rows))
    by_name = _by_name(rows)
    lines = [f"**All tables, {protocol}**", ""]
    if DEFAULT in by_name:
        lines += [*_headline(by_name[DEFAULT], tables), ""]
    if len(by_name) > 1:
        lines += [*_matrix(by_name, tables), "", *_wins(by_name)]
    return "\n".join(lines).rstrip()


def _headline(rows: Sequence[Row], tables: Sequence[str]) -> list[str]:
    """A line for each table: what the router that ships does beside what needs no router."""
    lines = [
        f"Quality on test prompts, mean of {len({row.seed for row in rows})} seeds, and the "
        f"{DEFAULT} router's gain over the best single expert in points:",
        "",
        "| table | best single | random | oracle | router | gain | worst seed | cost | QNC | Area "
        "| ZeroRouter's |",
        "|---" * 11 + "|",
    ]
    for table in tables:
        its = [row for row in rows if row.table == table]
        gain, half = interval([100 * row.gain for row in its])
        mean = {key: float(np.mean([vars(row)[key] for row in its])) for key in HEADLINE}
        cells = [
            table,
            *(f"{mean[key]:.4f}" for key in ("best_single", "random", "oracle", "accuracy")),
            f"{gain:+.2f} ± {half:.2f}",
            f"{min(100 * row.gain for row in its):+.2f}",
            f"{mean['cost_ratio']:.2f}",
            _qnc(its),
            f"{mean['area']:.4f}",
            f"{mean['zero_area']:.4f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    safe = [row.gain >= -SAFE and row.cost_ratio <= 1 + ROUNDING for row in rows]
    return [
        *lines,
        "",
        f"In {sum(safe)} of {len(safe)} splits it is at most {100 * SAFE:.1f} points below the "
        "best single expert, at no higher cost.",
    ]


def _matrix(by_name: dict[str, list[Row]], tables: Sequence[str]) -> list[str]:
    lines = [
        f"| gain in points; Area | {' | '.join(tables)} |",
        "|---" * (len(tables) + 1) + "|",
    ]
    for router, its in by_name.items():
        cells = []
        for table in tables:
            here = [(100 * row.gain, row.area) for row in its if row.table == table]
            gain, area = np.mean(here, axis=0)
            cells.append(f"{gain:+.2f}; {area:.4f}")
        lines.append(f"| {router} | {' | '.join(cells)} |")
    return lines


def _by_name(rows: Sequence[Row]) -> dict[str, list[Row]]:
    names = dict.fromkeys(row.router for row in rows)
    return {name: [row for row in rows if row.router == name] for name in names}


def _section(rows: Sequence[Row], table: str, protocol: str) -> str:
    by_name = _by_name(rows)
    first = next(iter(by_name.values()))
    single, random, zero, oracle = (
        float(np.mean([vars(row)[key] for row in first]))
        for key in ("best_single", "random", "zero_area", "oracle")
    )
    pair = first[0].apgr is not None
    head = [
        "router",
        "QNC",
        "Area",
        "Area(50 %)",
        "AIQ",
        "gain, points",
        "worst",
        "cost",
        "hindsight gain",
        "ECE",
    ]
    head += ["CPT(50 %)", "APGR"] if pair else []
    lines = [
        f"**{table}, {protocol}** ({len(first)} seeds): best single expert {single:.4f}, random "
        f"mixture {random:.4f}, oracle {oracle:.4f}; Area of ZeroRouter {zero:.4f}",
        "",
        f"| {' | '.join(head)} |",
        "|---" * len(head) + "|",
        *(_line(name, its, pair) for name, its in by_name.items()),
    ]
    if len(by_name) > 1 and len(first) > 1:
        lines += ["", *_wins(by_name)]
    if DEFAULT in by_name:
        lines += ["", _aside(by_name[DEFAULT])]
    return "\n".join(lines)


def _line(name: str, rows: Sequence[Row], pair: bool) -> str:
    gain, half = interval([100 * row.gain for row in rows])
    cells = [
        name,
        _qnc(rows),
        *(f"{np.mean([vars(row)[key] for row in rows]):.4f}" for key in ("area", "area50", "aiq")),
        f"{gain:+.2f} ± {half:.2f}" if len(rows) > 1 else f"{gain:+.2f}",
        f"{min(100 * row.gain for row in rows):+.2f}",
        f"{np.mean([row.cost_ratio for row in rows]):.2f}",
        f"{np.mean([100 * row.hindsight_gain for row in rows]):+.2f}",
        f"{np.mean([row.ece for row in rows]):.3f}",
    ]
    if pair:
        cells += [_mean([row.cpt for row in rows]), _mean([row.apgr for row in rows])]
    return f"| {' | '.join(cells)} |"


def _aside(rows: Sequence[Row]) -> str:
    """How often the default router steps aside, and how well it knows an answer's length."""
    said = f"The guard holds at {np.mean([row.guard_share for row in rows]):.0%} of cost levels."
    lengths = [
        (row.tokens_mae, row.tokens_mae_mean)
        for row in rows
        if row.tokens_mae is not None and row.tokens_mae_mean is not None
    ]
    if lengths:
        ours, mean = np.mean(lengths, axis=0)
        said += f" Answer lengths are off by {ours:.1f} tokens, by {mean:.1f} with the mean's."
    return said


def _qnc(rows: Sequence[Row]) -> str:
    found = [row.qnc for row in rows if row.qnc is not None]
    if not found:
        return "never"
    missed = f" ({len(rows) - len(found)} of {len(rows)} never)" if len(found) < len(rows) else ""
    return f"{np.mean(found):.3f}{missed}"


def _mean(values: Sequence[float | None]) -> str:
    found = [value for value in values if value is not None]
    return f"{np.mean(found):.3f}" if found else "never"


def _wins(by_name: dict[str, list[Row]]) -> list[str]:
    """On how many seeds the router of a row has more Area than that of a column."""
    areas = {name: [row.area for row in rows] for name, rows in by_name.items()}
    lines = [
        f"| more Area than: seeds of those not tied | {' | '.join(areas)} |",
        "|---" * (len(areas) + 1) + "|",
    ]
    for name, ours in areas.items():
        cells = ["" if name == other else _won(ours, areas[other]) for other in areas]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, "", f"\\* in a two-sided sign test p < {SIGNIFICANT}."]


def _won(ours: Sequence[float], theirs: Sequence[float]) -> str:
    above, untied, p = sign_test(ours, theirs)
    return f"{above} of {untied}" + (" \\*" if p < SIGNIFICANT else "")
