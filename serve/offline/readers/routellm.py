"""RouteLLM's evaluation files (MMLU and GSM8K, two experts) as a routing table."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from serve.errors import TableError
from serve.offline.table import RoutingTable

ANSWER = "_response"


def read(path: Path) -> RoutingTable:
    """Read one CSV file, or every mmlu_*.csv and gsm8k_responses.csv under a folder.

    Published in the repository lm-sys/RouteLLM: routellm/evals/mmlu/responses/mmlu_<domain>.csv
    with the columns prompt and <expert> (True or False: the answer was right), and
    routellm/evals/gsm8k/gsm8k_responses.csv, which adds <expert>_response (the answer).

    Returns:
        Prompts by <task>-<row>, as the files have no ids, without split and answer; quality 1 or
        0; the tensor answers where a file has responses. [prompts, experts] each.

    Raises:
        TableError: no such file, a column is missing or unknown, a prompt is missing, two files
            are of one task, or a score is neither True nor False.
    """
    files = [path]
    if path.is_dir():
        files = [*sorted(path.rglob("mmlu_*.csv")), *sorted(path.rglob("gsm8k_responses.csv"))]
    if not files:
        raise TableError(f"{path}: no mmlu_*.csv and no gsm8k_responses.csv under it")
    parts = [_part(file) for file in files]
    prompts = pd.concat([part[0] for part in parts])
    if prompts.index.has_duplicates:
        again = prompts.index[prompts.index.duplicated()][0]
        raise TableError(f"{path}: prompt id {again!r} occurs twice: two files of one task")
    quality = pd.concat([part[1] for part in parts])
    answers = pd.concat([part[2] for part in parts]).reindex(columns=quality.columns)
    meta = {
        "source": "lm-sys/RouteLLM, routellm/evals",
        "quality": "correct 0/1: MMLU 5-shot, GSM8K 8-shot",
        "logged": ["answers"],
        "note": "holds the prompts that RouteLLM's own evaluation leaves out as contaminated",
    }
    tensors = {"answers": answers} if answers.notna().any(axis=None) else {}
    return RoutingTable(prompts, quality, tensors, meta)


def _part(file: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Prompts, quality and answers of one file."""
    try:
        # As text: pandas' own guess would turn a prompt like NA or 1.0 into something else.
        rows = pd.read_csv(file, dtype="str", keep_default_na=False)
    except (OSError, ValueError) as error:
        raise TableError(f"{file}: not a CSV file: {error}") from error
    experts = _experts(file, rows)
    task = file.stem.removesuffix("_responses")
    ids = pd.Index([f"{task}-{row}" for row in range(len(rows))], dtype="str", name="prompt_id")
    rows = rows.set_axis(ids)
    absent = rows["prompt"] == ""
    if absent.any():
        raise TableError(f"{file}: prompt {absent.idxmax()!r} has no prompt")
    scores = rows[experts]
    wrong = scores.mask(scores.isin(["True", "False", ""])).stack().dropna()
    if len(wrong):
        row, expert = wrong.index[0]
        raise TableError(
            f"{file}: prompt {row!r}: {expert} is {wrong.iloc[0]!r}, not True or False"
        )
    quality = (scores == "True").astype("float64").mask(scores == "")
    given = [expert for expert in experts if expert + ANSWER in rows]
    answers = rows[[expert + ANSWER for expert in given]].set_axis(given, axis="columns")
    return pd.DataFrame({"task": task, "prompt": rows["prompt"]}), quality, answers


def _experts(file: Path, rows: pd.DataFrame) -> list[str]:
    names = [str(name) for name in rows]
    if "prompt" not in names:
        raise TableError(f"{file}: columns missing: prompt")
    answers = {name for name in names if name.endswith(ANSWER)}
    unknown = sorted(name for name in answers if name.removesuffix(ANSWER) not in names)
    if unknown:
        raise TableError(f"{file}: unknown columns: {', '.join(unknown)}")
    experts = [name for name in names if name != "prompt" and name not in answers]
    if not experts:
        raise TableError(f"{file}: columns missing: <expert>")
    return experts
