"""TO-Router's first phase: ask every expert every prompt, grade the answers, write a table.

Whom it asks and over which wire is the caller's: serve/engines.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from serve.config import ExpertSettings, Settings
from serve.errors import SetupError, TableError
from serve.offline.asking.ask import Answer, Limits
from serve.offline.asking.failures import report
from serve.offline.asking.journal import Journal
from serve.offline.asking.prompts import Prompt
from serve.offline.table import RoutingTable

JOURNAL = "journal.jsonl"
Jobs: TypeAlias = Sequence[tuple[Prompt, str]]
Ask: TypeAlias = Callable[[Jobs, Limits, Callable[[Answer], None]], None]
"""Asks every (prompt, expert) and hands each answer over as it comes."""


def prepare(
    prompts: Sequence[Prompt],
    settings: Settings,
    out: Path,
    ask: Ask,
    *,
    limits: Limits,
    quality: str = "bertsim",
    reference: str | None = None,
    source: str = "",
) -> RoutingTable:
    """Ask what `out` has no answer to yet, greedily, and write the table there.

    Args:
        prompts: of prompts.py or logged.py.
        settings: names the experts, their prices and the encoder that grades.
        out: folder of the table and of the journal.
        ask: called once, unless nothing is left to ask.
        limits: of asking.
        quality: the grader whose grade is the table's quality: offline/asking/grade.py.
        reference: the expert whose answer is the reference of a prompt that has none.
        source: where the prompts are from, for the table's meta.

    Raises:
        TableError: a prompt has no reference, or `out` holds another run.
        SetupError: no expert answered anything.
    """
    experts = [expert.id for expert in settings.experts]
    _require_references(prompts, reference, experts)
    with Journal(out / JOURNAL, _run(prompts, settings, limits)) as journal:
        every = [(prompt, expert) for prompt in prompts for expert in experts]
        jobs = [(p, e) for p, e in every if not journal.finished(p.id, e)]
        if len(jobs) < len(every):
            print(f"{out}: {len(every) - len(jobs)} of {len(every)} answers are there already")
        if jobs:
            ask(jobs, limits, journal.add)
        wanted = {(prompt.id, expert) for prompt, expert in every}
        answers = [a for a in journal.answers if (a.prompt, a.expert) in wanted]
    _tell(answers, out)
    # Imports torch: asking need not wait for it.
    from serve.offline.asking.cells import table_of

    table = table_of(prompts, settings, answers, quality=quality, reference=reference)
    table.meta.update(prompts=source, max_tokens=limits.max_tokens)
    table.save(out)
    print(f"{out}: {len(prompts)} prompts, {len(experts)} experts, quality is {quality}")
    return table


def _require_references(
    prompts: Sequence[Prompt], reference: str | None, experts: Sequence[str]
) -> None:
    if reference is not None and reference not in experts:
        raise TableError(
            f"--reference {reference!r} is no expert of the settings: {', '.join(experts)}"
        )
    without = [prompt.id for prompt in prompts if prompt.reference is None]
    if without and reference is None:
        raise TableError(
            f"{len(without)} of {len(prompts)} prompts have no reference to grade answers by (the "
            f"first: {without[0]}); give them one, or --reference EXPERT to take that expert's "
            "answers"
        )


def _run(prompts: Sequence[Prompt], settings: Settings, limits: Limits) -> dict[str, Any]:
    """What an answer depends on; an expert may join or leave the pool between two runs."""
    asked = [[prompt.id, list(prompt.messages), prompt.reference] for prompt in prompts]
    models = {f"model of {expert.id}": _model(expert) for expert in settings.experts}
    return models | {
        "prompts": hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16],
        "max_tokens": limits.max_tokens,
        "likelihood": limits.likelihood,
    }


def _model(expert: ExpertSettings) -> str:
    if expert.remote is not None:
        return f"{expert.remote.model or expert.id} at {expert.remote.url}"
    return expert.here if isinstance(expert.here, str) else f"sha256 {expert.here.sha256}"


def _tell(answers: Sequence[Answer], out: Path) -> None:
    failed = report(answers)
    if not failed:
        return
    print(failed)
    reasons = [answer.error for answer in answers if answer.error is not None]
    if len(reasons) == len(answers):
        raise SetupError(f"no expert answered any prompt; the first: {reasons[0]}")
    print(
        f"{len(reasons)} of {len(answers)} answers failed and are NaN in {out}; the same command "
        "asks them again"
    )
