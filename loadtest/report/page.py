"""The tables of a load, as Markdown for a terminal and as a page of HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from loadtest.report import measures
from loadtest.report.objectives import Verdict
from loadtest.report.samples import Sample
from loadtest.users.schedule import Stage

ERRORS = 10
"""Kinds of errors that are told; their texts may hold what makes each one new."""

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem }
table { border-collapse: collapse; margin-bottom: 1.5rem }
th, td { border: 1px solid #ccc; padding: .2rem .6rem; text-align: right }
th:first-child, td:first-child { text-align: left }
"""


@dataclass(frozen=True)
class Table:
    """Cells as they are shown; the first row is the header."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(
    samples: Sequence[Sample],
    stages: Sequence[Stage],
    verdicts: Sequence[Verdict],
    measured: dict[str, float | None],
) -> list[Table]:
    """All there is to say, verdicts last; one without rows is left out."""
    whole = [sample for sample in samples if sample.error is None]
    everything = [
        _times(whole),
        _rates(samples, whole, measured),
        _stages(samples, stages),
        _models(whole),
        _errors(samples),
        _verdicts(verdicts),
    ]
    return [table for table in everything if table.rows]


def markdown(shown: Sequence[Table]) -> str:
    """One after another, each below its title."""
    return "\n\n".join(
        "\n".join(
            [
                f"**{table.title}**\n",
                _line(table.header),
                _line(["---"] * len(table.header)),
                *map(_line, table.rows),
            ]
        )
        for table in shown
    )


def page(title: str, shown: Sequence[Table], locust: str) -> str:
    """A page with them, and a link to Locust's own report.

    Args:
        title: of the page.
        shown: tables.
        locust: URL of Locust's report, relative to the page.
    """
    body = "\n".join(
        f"<h2>{escape(table.title)}</h2>\n<table>{_tr('th', table.header)}"
        + "".join(_tr("td", row) for row in table.rows)
        + "</table>"
        for table in shown
    )
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style>\n<h1>{escape(title)}</h1>\n{body}\n"
        f'<p><a href="{locust}">Locust\'s own report</a> has charts over time. Its METRIC rows are '
        "not requests, and its percentiles are rounded: those above are of raw samples.</p>\n"
        "</html>\n"
    )


def number(value: float | None) -> str:
    """Three figures of it, at least."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _times(whole: Sequence[Sample]) -> Table:
    rows = []
    for time, values in measures.times(whole).items():
        spread = measures.percentiles(values)
        unit = f"{time if time == 'decision' else time.upper()}, {measures.TIMES[time]}"
        rows.append([unit, *map(number, spread.values()), str(len(values))])
    heads = [f"p{q}" for q in measures.PERCENTILES]
    return Table("Latency of whole answers", ["", *heads, "values"], rows)


def _rates(
    samples: Sequence[Sample], whole: Sequence[Sample], measured: dict[str, float | None]
) -> Table:
    counted = sum(not sample.from_usage for sample in whole)
    rows = [
        ["requests", str(len(samples))],
        ["whole answers", str(len(whole))],
        ["wall time, s", number(measures.wall_s(samples))],
        ["answers/s", number(measured["requests_per_s"])],
        ["output tokens/s", number(measured["tokens_per_s"])],
        ["good answers/s (goodput)", number(measured["goodput_per_s"])],
        ["share of good answers", number(measured["goodput_share"])],
        ["error rate", number(measured["error_rate"])],
        ["USD per 1,000 answers", number(measured["usd_per_1000_requests"])],
    ]
    if counted:
        rows.append(["answers without usage: chunks counted as tokens", str(counted)])
    return Table("Rates and cost", ["", "measured"], rows)


def _stages(samples: Sequence[Sample], stages: Sequence[Stage]) -> Table:
    whole = [sample for sample in samples if sample.error is None]
    rows = []
    for stage in stages:
        sent = measures.within(samples, stage)
        times = measures.times([sample for sample in sent if sample.error is None])
        seconds = stage.end_s - stage.start_s
        rows.append(
            [
                str(stage.users),
                f"{stage.start_s:.0f} to {stage.end_s:.0f}",
                str(len(sent)),
                str(sum(sample.error is not None for sample in sent)),
                number(measures.percentiles(times["ttft"])[50]),
                number(measures.percentiles(times["ttft"])[95]),
                number(measures.percentiles(times["tpot"])[95]),
                number(measures.percentiles(times["e2e"])[95]),
                number(measures.tokens_within(whole, stage) / seconds),
            ]
        )
    latencies = ["TTFT p50 s", "TTFT p95 s", "TPOT p95 s", "E2E p95 s"]
    header = ["users", "seconds", "requests", "errors", *latencies, "tokens/s"]
    return Table("By stage of the load", header, rows)


def _models(whole: Sequence[Sample]) -> Table:
    rows = []
    for expert, share in measures.shares(whole).items():
        own = [sample for sample in whole if sample.expert == expert]
        tokens = sum(sample.output_tokens for sample in own)
        spread = measures.times(own)
        rows.append(
            [
                expert,
                str(len(own)),
                f"{share:.0%}",
                str(tokens),
                number(measures.percentiles(spread["ttft"])[95]),
                number(measures.percentiles(spread["tpot"])[95]),
                number(measures.usd_per_1000(own)),
            ]
        )
    header = ["model", "answers", "share", "output tokens", "TTFT p95 s", "TPOT p95 s"]
    return Table("Who answered", [*header, "USD per 1,000"], rows)


def _errors(samples: Sequence[Sample]) -> Table:
    told = Counter(sample.error for sample in samples if sample.error is not None)
    rows = [[text, str(count)] for text, count in told.most_common(ERRORS)]
    return Table("Errors", ["", "requests"], rows)


def _verdicts(verdicts: Sequence[Verdict]) -> Table:
    rows = [
        [
            verdict.name,
            f"{'at least' if verdict.name in measures.AT_LEAST else 'at most'} {verdict.limit:g}",
            "nothing" if verdict.measured is None else number(verdict.measured),
            "met" if verdict.met else "missed",
        ]
        for verdict in verdicts
    ]
    return Table("Objectives", ["objective", "wanted", "measured", ""], rows)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _tr(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"
