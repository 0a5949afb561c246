"""Answers of many experts to many prompts -> a graded routing table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from serve import weights
from serve.config import Settings
from serve.offline.asking.ask import Answer
from serve.offline.asking.certainty import CERTAINTIES
from serve.offline.asking.grade import GRADERS, MEANING, grade
from serve.offline.asking.prompts import Prompt
from serve.offline.table import RoutingTable

_MEASURED = ("in_tokens", "out_tokens", "ttft_s", "latency_s", "nll", *CERTAINTIES)
_TEXTS = {"text": "answers", "error": "errors"}


def table_of(
    prompts: Sequence[Prompt],
    settings: Settings,
    answers: Sequence[Answer],
    *,
    quality: str,
    reference: str | None,
) -> RoutingTable:
    """One row a prompt, one column an expert; a cell without an answer is NaN and has an error.

    Args:
        prompts: all that were asked.
        settings: name the experts, their prices and the encoder that grades.
        answers: one for every prompt and expert.
        quality: the grader whose grade is the table's quality.
        reference: the expert whose answer is the reference of a prompt that has none.
    """
    frame = pd.DataFrame([asdict(answer) for answer in answers])
    frame = frame.astype(dict.fromkeys(_MEASURED, "float64"))
    references = _references(prompts, answers, reference)
    frame["reference"] = frame["prompt"].map(references)
    _grade(frame, weights.folder(settings.router.encoder))
    frame["cost_usd"] = _costs(frame, settings)
    if reference is not None:
        no_reference = frame["text"].notna() & frame["reference"].isna()
        frame.loc[no_reference, "error"] = f"no grade: {reference}, the reference, had no answer"
    order = [prompt.id for prompt in prompts]
    columns = [expert.id for expert in settings.experts]

    def tensor(column: str) -> pd.DataFrame:
        wide = frame.pivot(index="prompt", columns="expert", values=column)
        return wide.loc[order, columns].rename_axis(index="prompt_id", columns=None)

    tensors = {stem: tensor(stem) for stem in ("cost_usd", *_MEASURED, *GRADERS)}
    tensors |= {stem: tensor(column) for column, stem in _TEXTS.items()}
    # Nothing was asked for: a table should not look as if it had been.
    unasked = [stem for stem in CERTAINTIES if tensors[stem].isna().all(axis=None)]
    tensors = {stem: cells for stem, cells in tensors.items() if stem not in unasked}
    meta = _meta(settings, quality, reference)
    return RoutingTable(_prompt_frame(prompts, references), tensors[quality], tensors, meta)


def _references(
    prompts: Sequence[Prompt], answers: Sequence[Answer], expert: str | None
) -> dict[str, str]:
    said = {a.prompt: a.text for a in answers if a.expert == expert and a.text is not None}
    return said | {p.id: p.reference for p in prompts if p.reference is not None}


def _grade(frame: pd.DataFrame, folder: str) -> None:
    """Add a column for every grader; NaN without an answer or a reference."""
    both = frame["text"].notna() & frame["reference"].notna()
    said, meant = frame.loc[both, "text"].tolist(), frame.loc[both, "reference"].tolist()
    for name in GRADERS:
        frame[name] = np.nan
        if said:
            frame.loc[both, name] = grade(name, said, meant, folder).astype("float64")


def _costs(frame: pd.DataFrame, settings: Settings) -> list[float]:
    experts = {expert.id: expert.as_expert() for expert in settings.experts}
    return [
        experts[name].cost_usd(i, o)
        for name, i, o in zip(frame["expert"], frame["in_tokens"], frame["out_tokens"], strict=True)
    ]


def _prompt_frame(prompts: Sequence[Prompt], references: Mapping[str, str]) -> pd.DataFrame:
    rows: list[dict[str, Any]] = [
        {
            "prompt_id": prompt.id,
            "task": prompt.task,
            "split": prompt.split,
            "prompt": prompt.text,
            "messages": json.dumps(prompt.messages, ensure_ascii=False),
            "answer": references.get(prompt.id),
        }
        for prompt in prompts
    ]
    return pd.DataFrame(rows).set_index("prompt_id")


def _meta(settings: Settings, quality: str, reference: str | None) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "source": "pointsman prepare",
        "quality": f"{quality}: {MEANING[quality]}",
        "grader": quality,
        "prices_usd_per_million_tokens": {
            expert.id: expert.price.model_dump() for expert in settings.experts
        },
    }
    if reference is not None:
        meta["reference"] = (
            f"where a prompt has none, the answer of {reference}: its own grade there is that of "
            "agreeing with itself, the best there is, by construction"
        )
    return meta
