"""RouterBench's published pickles as a routing table."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pandas as pd

from serve.errors import TableError
from serve.offline.readers.frame_pickle import read_frame
from serve.offline.table import RoutingTable

KEYS = ["sample_id", "prompt", "eval_name"]
CELLS = {"performance": "", "model_response": "|model_response", "cost": "|total_cost"}
# Written or looked for by RouterBench's own code; a routing table has no use for them.
IGNORED = {"oracle_model_to_route_to", "source", "embedding", "index"}
# US dollars per million tokens, input and output, from routers/common.py of the repository. Its
# divisor there is ten times too large; the published costs are token counts times these prices.
PRICES = {
    "WizardLM/WizardLM-13B-V1.2": (0.3, 0.3),
    "claude-instant-v1": (0.8, 2.4),
    "claude-v1": (8.0, 24.0),
    "claude-v2": (8.0, 24.0),
    "gpt-3.5-turbo-1106": (1.0, 2.0),
    "gpt-4-1106-preview": (10.0, 30.0),
    "meta/code-llama-instruct-34b-chat": (0.776, 0.776),
    "meta/llama-2-70b-chat": (0.9, 0.9),
    "mistralai/mistral-7b-chat": (0.2, 0.2),
    "mistralai/mixtral-8x7b-chat": (0.6, 0.6),
    "zero-one-ai/Yi-34B-Chat": (0.8, 0.8),
}


def read(path: Path) -> RoutingTable:
    """Read routerbench_0shot.pkl, routerbench_5shot.pkl or routerbench_raw.pkl.

    Published as the Hugging Face dataset withmartian/routerbench: pickled DataFrames, read without
    running the pickle. The first two hold a row per prompt: sample_id, prompt, eval_name and for
    each expert <expert> (its score), <expert>|model_response and <expert>|total_cost (dollars).
    The last holds a row per prompt and expert: sample_id, prompt, eval_name, model_name,
    performance, model_response and cost. Prompts and responses are Python lists of turns as text;
    the turns are joined by a line break.

    Returns:
        Prompts by sample_id, tasks being eval_name, without split and answer; quality as
        published, 0..1; tensors cost_usd and answers. [prompts, experts] each.

    Raises:
        TableError: the pickle holds anything but a DataFrame, a column is missing or unknown, an
            id is missing or occurs twice, a prompt is missing, or a score is outside 0..1.
    """
    frame = read_frame(path)
    if "model_name" in frame:
        frame = _wide(path, frame)
    experts = _experts(path, frame)
    prompts = _prompts(path, frame)
    frame = frame.set_axis(prompts.index)
    quality, answers, cost = (
        frame[[expert + suffix for expert in experts]].set_axis(experts, axis="columns")
        for suffix in CELLS.values()
    )
    quality, cost = _numbers(path, "score", quality), _numbers(path, "cost", cost)
    outside = ((quality < 0) | (quality > 1)).any(axis=1)
    if outside.any():
        raise TableError(f"{path}: prompt {outside.idxmax()!r} has a score outside 0..1")
    tensors = {"cost_usd": cost, "answers": answers.map(_text)}
    return RoutingTable(prompts, quality, tensors, _meta(path, experts))


def _meta(path: Path, experts: list[str]) -> dict[str, Any]:
    return {
        "source": f"withmartian/routerbench (Hugging Face dataset), {path.name}",
        "quality": "RouterBench's score, 0..1: right or wrong, or graded in steps",
        "prices_usd_per_million_tokens": {
            expert: {"input": PRICES[expert][0], "output": PRICES[expert][1]}
            for expert in experts
            if expert in PRICES
        },
        "logged": ["answers"],
        "derived": {"cost_usd": "by RouterBench: counted tokens times list prices"},
    }


def _require_columns(path: Path, frame: pd.DataFrame, known: set[str]) -> None:
    names = {str(name) for name in frame}
    missing, unknown = sorted(known - names), sorted(names - known - IGNORED)
    if missing:
        raise TableError(f"{path}: columns missing: {', '.join(missing)}")
    if unknown:
        raise TableError(f"{path}: unknown columns: {', '.join(unknown)}")


def _experts(path: Path, frame: pd.DataFrame) -> list[str]:
    """The experts in the order of their scores."""
    suffix = CELLS["model_response"]
    experts = {str(n).removesuffix(suffix) for n in frame if str(n).endswith(suffix)}
    if not experts:
        raise TableError(f"{path}: columns missing: <expert>{suffix}")
    cells = {expert + part for expert in experts for part in CELLS.values()}
    _require_columns(path, frame, cells | set(KEYS))
    return [str(name) for name in frame if name in experts]


def _wide(path: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """From a row per prompt and expert to a row per prompt; a pair without a row is NaN."""
    _require_columns(path, rows, {*KEYS, "model_name", *CELLS})
    pair = ["sample_id", "model_name"]
    if rows[pair].isna().any(axis=None):
        raise TableError(f"{path}: a row has no sample_id or no model_name")
    again = rows.duplicated(pair)
    if again.any():
        sample, expert = rows.loc[again, pair].iloc[0]
        raise TableError(f"{path}: prompt {sample!r} occurs twice for {expert!r}")
    # An id with two prompts stays two rows here and is refused later as one that occurs twice.
    frame = rows[KEYS].drop_duplicates()
    order = rows["model_name"].drop_duplicates().tolist()
    for name, suffix in CELLS.items():
        cells = rows.pivot(index="sample_id", columns="model_name", values=name)
        frame = frame.join(cells[order].add_suffix(suffix), on="sample_id")
    return frame


def _prompts(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    if frame["sample_id"].isna().any():
        raise TableError(f"{path}: a row has no sample_id")
    ids = pd.Index(frame["sample_id"].astype("str"), name="prompt_id")
    if ids.has_duplicates:
        raise TableError(f"{path}: prompt id {ids[ids.duplicated()][0]!r} occurs twice")
    texts = {"task": frame["eval_name"].map(_text), "prompt": frame["prompt"].map(_text)}
    for name, column in texts.items():
        absent = (column.isna() | (column == "")).to_numpy()
        if absent.any():
            raise TableError(f"{path}: prompt {ids[absent][0]!r} has no {name}")
    return pd.DataFrame(texts).set_axis(ids)


def _numbers(path: Path, what: str, cells: pd.DataFrame) -> pd.DataFrame:
    """Bools and numbers as float64, gaps as NaN."""
    try:
        return cells.astype("float64")
    except (TypeError, ValueError) as error:
        raise TableError(f"{path}: a {what} is not a number: {error}") from None


def _text(value: Any) -> str | None:
    """Turns that were written as the text of a list, joined; other text as it is."""
    if not isinstance(value, str):
        return None
    if not (value.startswith("[") and value.endswith("]")):
        return value
    try:
        turns = ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return value
    return "\n".join(turns) if all(isinstance(turn, str) for turn in turns) else value
