"""`pointsman evaluate`: routers on routing tables, over seeds, under one or both protocols.

Writes to a folder: results.json (one row per table, protocol, router and seed), results.md, and per
table and protocol a plot of the deferral curves and one of the calibration, as PNG and SVG.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from tqdm import tqdm

from serve.encoding.transformer import TransformerEncoder
from serve.errors import SettingsError
from serve.offline.cost import costs_of
from serve.offline.curve_table import curve_table
from serve.offline.embed import encode_all
from serve.offline.encoders import Reading
from serve.offline.fit.data import Fitted
from serve.offline.fit.registry import Router, parse_router
from serve.offline.guard import calibrate
from serve.offline.judge import Verdict, judge
from serve.offline.metrics import BUDGETS
from serve.offline.plots import plot, plot_reliability
from serve.offline.reliability import together
from serve.offline.report import markdown
from serve.offline.results import Line, Reliable, average, write_json
from serve.offline.table import RoutingTable
from serve.offline.trial import Trial, split_trial, split_unseen
from serve.offline.unseen import fit_seen, for_unseen
from serve.protocol import Doubles, Floats

PROMPTS, UNSEEN = "prompts", "unseen-experts"
PROTOCOLS = (PROMPTS, UNSEEN)
FULL = "full"
"""`kmeans:full` under unseen-experts: the same router with all training labels of the experts."""


@dataclass(frozen=True)
class Table:
    """A table ready to be split: comparable, and its prompts read."""

    name: str
    table: RoutingTable
    vectors: Floats
    notes: tuple[str, ...]


def evaluate(
    folders: Sequence[Path],
    routers: Sequence[str],
    protocols: Sequence[str],
    *,
    seeds: int,
    out: Path,
    read: Callable[[], Reading],
    without: Sequence[str] = (),
    curves: bool = False,
) -> str:
    """Judge and write; the Markdown report.

    Args:
        folders: of routing tables.
        routers: names, see fit/registry.py.
        protocols: of PROTOCOLS.
        seeds: splits 0 .. seeds - 1.
        out: folder of the results.
        read: loads the encoder; called after the tables are found in order, where it is needed.
        without: experts to leave out of every pool that has them.
        curves: end the report with the deferral curves as tables.

    Raises:
        TableError, SettingsError: a table or a name is not in order.
    """
    for name in routers:
        if _plain(name) != name and set(protocols) != {UNSEEN}:
            raise SettingsError(f"router {name!r}: `:{FULL}` belongs to {UNSEEN} alone")
    parsed = [parse_router(_plain(name))[0] for name in routers]
    loaded = [_load(folder, without) for folder in folders]
    strangers = set(without).difference(*(left for *_, left in loaded))
    if strangers:
        raise SettingsError(f"--without {min(strangers)!r}: no table has that expert")
    # A router that reads the text itself needs no vectors.
    how = None if all(router.reads_text for router in parsed) else read()
    verdicts: list[Verdict] = []
    tables = [_read(*entry, how) for entry in loaded]
    total = len(tables) * len(protocols) * seeds * len(routers)
    with tqdm(total=total, desc="Judging", unit="fit") as bar:
        for table in tables:
            for protocol in protocols:
                verdicts += _verdicts(table, protocol, routers, seeds, bar)
    notes = [f"{table.name}: {note}" for table in tables for note in table.notes]
    return _write(out, verdicts, tables, notes, curves)


def _load(folder: Path, without: Sequence[str]) -> tuple[str, RoutingTable, list[str]]:
    table = RoutingTable.load(folder)
    left = [expert for expert in table.experts if expert in without]
    table = table.pool([expert for expert in table.experts if expert not in left])
    table.comparable(folder)  # refused now, not after other tables have been read for minutes
    return folder.resolve().name, table, left


def _read(name: str, table: RoutingTable, left: list[str], how: Reading | None) -> Table:
    """Vectors of every prompt with a text, so that the cache does not depend on the answers."""
    texts = table.rows(table.prompts.index[table.prompts["prompt"].notna()])
    blank = np.zeros((len(texts.texts), 0), dtype=np.float32)
    vectors = how.vectors(texts.texts) if how else blank
    comparable, notes = table.comparable()
    at = texts.prompts.index.get_indexer(comparable.prompts.index)
    if left:
        notes = [f"left out as asked: {', '.join(left)}", *notes]
    return Table(name, comparable, vectors[at], tuple(notes))


def _verdicts(
    table: Table, protocol: str, routers: Sequence[str], seeds: int, bar: tqdm[NoReturn]
) -> Iterator[Verdict]:
    judged = _known if protocol == PROMPTS else _unseen
    for seed in range(seeds):
        bar.set_postfix_str(f"{table.name} {protocol} seed {seed}")
        for verdict in judged(table, routers, seed):
            yield verdict
            bar.update()


def _known(table: Table, routers: Sequence[str], seed: int) -> Iterator[Verdict]:
    """The pool is the one the routers were trained on."""
    trial = split_trial(table.name, table.table, table.vectors, seed)
    fits: dict[object, Fitted] = {}
    for name in routers:
        router, settings = parse_router(name)
        key = (router.fit, tuple(settings.items()))
        if key not in fits:
            fits[key] = router.fit(trial.data, seed=seed, **settings)
        yield _verdict(name, PROMPTS, trial, fits[key], router)


def _unseen(table: Table, routers: Sequence[str], seed: int) -> Iterator[Verdict]:
    """The pool is a third of the experts, which the routers were not trained on."""
    trial = split_unseen(table.name, table.table, table.vectors, seed)
    fits: dict[object, Fitted] = {}
    for name in routers:
        router, settings = parse_router(_plain(name))
        key = (router.fit, tuple(settings.items()))
        if key not in fits:
            fits[key] = fit_seen(name, router, settings, trial)
        fitted = for_unseen(fits[key], trial, full=_plain(name) != name)
        yield _verdict(name, UNSEEN, trial.trial, fitted, router)


def _verdict(name: str, protocol: str, trial: Trial, fitted: Fitted, router: Router) -> Verdict:
    trial = trial if router.priced else trial.flat()
    guard = calibrate(fitted, trial.data, trial.costs) if router.guarded else None
    vectors = trial.test.vectors
    if fitted.encoder is not None:
        vectors = encode_all(trial.test.texts, TransformerEncoder(str(fitted.encoder)))
    return judge(name, protocol, trial, fitted, fitted.predictor.predict(vectors), guard)


def _plain(name: str) -> str:
    return name.removesuffix(f":{FULL}")


def _write(
    out: Path,
    verdicts: Sequence[Verdict],
    tables: Sequence[Table],
    notes: Sequence[str],
    curves: bool,
) -> str:
    out.mkdir(parents=True, exist_ok=True)
    groups: dict[tuple[str, str, str], list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        row = verdict.row
        groups[row.table, row.protocol, row.router].append(verdict)
    lines, reliable = [], []
    for table in tables:
        for key, ours in groups.items():
            if key[0] == table.name:
                lines.append(average(key, _budgets(table), [v.reached for v in ours]))
                bins = together([v.reliability for v in ours])
                reliable.append(Reliable(*key, *bins.means()))
    rows = [verdict.row for verdict in verdicts]
    write_json(rows, lines, reliable, notes, out / "results.json")
    for table in tables:
        _plots(out, table, lines, reliable)
    report = "".join(f"Note: {note}.\n" for note in notes) + "\n" * bool(notes) + markdown(rows)
    if curves:
        report += "\n" + curve_table(lines)
    (out / "results.md").write_text(report)
    return report


def _plots(out: Path, table: Table, lines: Sequence[Line], reliable: Sequence[Reliable]) -> None:
    for protocol in dict.fromkeys(line.protocol for line in lines):
        ours = [n for n in lines if (n.table, n.protocol) == (table.name, protocol)]
        bins = [n for n in reliable if (n.table, n.protocol) == (table.name, protocol)]
        stem = f"{table.name}.{protocol}"
        title = f"{table.name}, {protocol}: "
        seeds = f"mean and 95 % interval of {ours[0].seeds} seeds"
        plot(ours, _singles(table), title + seeds, out / stem)
        plot_reliability(bins, title + "calibration on test prompts", out / f"{stem}.calibration")


def _budgets(table: Table) -> Doubles:
    """The budgets of a curve in dollars; splits differ a little in what they cost."""
    means = costs_of(table.table).measured.mean(axis=0)
    return np.linspace(means.min(), means.max(), BUDGETS)


def _singles(table: Table) -> dict[str, tuple[float, float]]:
    cost = costs_of(table.table).measured.mean(axis=0)
    quality = table.table.quality.mean().to_numpy()
    return {
        name: (float(c), float(q))
        for name, c, q in zip(table.table.experts, cost, quality, strict=True)
    }
