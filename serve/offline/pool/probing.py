"""Asks a new expert the probes of an artifact and grades what it says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from serve import weights
from serve.config import MINILM, ModelRef
from serve.encoding.prompt import CHARACTERS_PER_TOKEN
from serve.errors import SettingsError, TableError
from serve.offline.asking.ask import Answer, Endpoint, Limits, ask_all
from serve.offline.asking.grade import grade
from serve.offline.asking.prompts import Prompt
from serve.offline.pool.pool import Answered
from serve.offline.pool.probes import Probes
from serve.offline.table import MIN_PROMPTS, RoutingTable
from serve.protocol import Expert

READING = ("bertsim", "cosine")
"""Graders that read with the encoder; for the others its bytes need not be checked."""


def answered(
    probes: Probes,
    expert: Expert,
    endpoint: Endpoint,
    limits: Limits,
    *,
    grader: str | None,
    encoder: ModelRef = MINILM,
) -> Answered:
    """What an expert does with the probes; what failed or could not be graded is left out.

    Args:
        probes: to be asked, all of them.
        expert: its id and prices.
        endpoint: serves it under its id.
        limits: see asking/ask.py.
        grader: see asking/grade.py; None: the one that the training table names.
        encoder: what a grader that compares meanings reads with.

    Raises:
        SettingsError: no grader is known, or too few answers came.
        TableError: the probes have no reference answers.
    """
    name = _grader(probes.table, grader)
    prompts = _prompts(probes.table)
    said: dict[str, Answer] = {}
    ask_all(
        [(prompt, expert.id) for prompt in prompts],
        endpoint,
        limits,
        lambda answer: said.update({answer.prompt: answer}),
    )
    rows = [i for i, prompt in enumerate(prompts) if said[prompt.id].text is not None]
    texts = [said[prompts[i].id].text or "" for i in rows]
    quality = np.zeros(0, dtype=np.float32)
    if rows:
        folder = weights.folder(encoder) if name in READING else ""
        quality = grade(name, texts, [str(prompts[i].reference) for i in rows], folder)
    good = [(i, q) for i, q in zip(rows, quality, strict=True) if not np.isnan(q)]
    if len(good) < MIN_PROMPTS:
        why = next((a.error for a in said.values() if a.error), "the rest could not be graded")
        raise SettingsError(
            f"{expert.id}: {len(good)} of {len(prompts)} probes answered, and at least "
            f"{MIN_PROMPTS} are needed ({why})"
        )
    kept = [said[prompts[i].id] for i, _ in good]
    return Answered(
        expert,
        np.array([i for i, _ in good]),
        np.array([q for _, q in good], dtype=np.float32),
        np.array([_input_tokens(a, prompts[i]) for a, (i, _) in zip(kept, good, strict=True)]),
        np.array([_output_tokens(answer) for answer in kept]),
    )


def _grader(table: RoutingTable, asked: str | None) -> str:
    """The grader to use, where there is one and something to grade by."""
    name = asked or table.meta.get("grader")
    if name is None:
        raise SettingsError(
            "--grader: the training table does not say how its answers were graded; name the "
            "grader (choice, exact, bertsim, cosine)"
        )
    if "answer" not in table.prompts:
        raise TableError(
            "the training table has no column answer, and without reference answers a new expert "
            "cannot be graded; train on a table that has it"
        )
    return str(name)


def _prompts(table: RoutingTable) -> list[Prompt]:
    return [
        Prompt(str(name), str(row["task"]), "train", _messages(row), str(row["answer"]))
        for name, row in table.prompts.iterrows()
    ]


def _messages(row: Any) -> tuple[dict[str, Any], ...]:
    """As `prepare` kept them; a table of plain prompts has none."""
    if "messages" in row:
        return tuple(json.loads(row["messages"]))
    return ({"role": "user", "content": str(row["prompt"])},)


def _input_tokens(answer: Answer, prompt: Prompt) -> np.float32:
    estimate = len(prompt.text) / CHARACTERS_PER_TOKEN
    return np.float32(answer.in_tokens if answer.in_tokens is not None else estimate)


def _output_tokens(answer: Answer) -> np.float32:
    estimate = len(answer.text or "") / CHARACTERS_PER_TOKEN
    return np.float32(answer.out_tokens if answer.out_tokens is not None else estimate)
