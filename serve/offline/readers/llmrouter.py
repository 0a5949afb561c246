"""LLMRouter's routing data (JSON lines) as a routing table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from serve.errors import TableError
from serve.offline.table import RoutingTable

FILES = {"train": "default_routing_train_data.jsonl", "test": "default_routing_test_data.jsonl"}
PRICES = "default_llm.json"
NEEDED = ["embedding_id", "task_name", "query", "ground_truth", "metric", "model_name"]
NEEDED += ["performance"]
NUMBERS = {"in_tokens": "input_tokens", "out_tokens": "output_tokens", "latency_s": "response_time"}
KNOWN = {*NEEDED, *NUMBERS.values(), "response"}
# api_key_used is a piece of somebody's key: never copied.
IGNORED = {"choices", "task_id", "token_num", "api_key_used", "user_id", "fig_id", "question_type"}
# What LLMRouter writes in place of a response when a call fails, and scores 0.
FAILED = ("ERROR", "API Error")


def read(path: Path) -> RoutingTable:
    """Read default_routing_{train,test}_data.jsonl: one of them, or those that a folder holds.

    The format of the repository ulab-uiuc/LLMRouter (llmrouter/data/README.md), which published
    both files; a folder may have them below routing_data/ and default_llm.json (prices) below
    llm_candidates/, like its data/example_data. A line per prompt and expert: embedding_id,
    task_name, query, ground_truth, metric, model_name, performance and, where known, response,
    input_tokens, output_tokens and response_time (seconds).

    Returns:
        Prompts by <split>-<embedding_id>, since a prompt may be in both files, with split, answer
        and metric; quality as published, 0..1, but NaN where the call failed; tensors answers,
        in_tokens, out_tokens, latency_s and, given prices, cost_usd. [prompts, experts] each.

    Raises:
        TableError: no such file, a line is not a JSON object, a key is missing or unknown, a
            prompt is missing, an id has two prompts or occurs twice for one expert, a value is
            not a number, or a score is outside 0..1.
    """
    parts = [_rows(file, split) for split, file in _files(path).items()]
    rows = pd.concat(parts, ignore_index=True)
    prompts = _prompts(path, rows)
    # A failed call says nothing of the expert, its tokens are counted words and its time is ours.
    failed = rows["response"].map(lambda text: isinstance(text, str) and text.startswith(FAILED))
    failed = failed.astype("bool")
    quality = _matrix(rows, _numbers(path, rows, "performance").mask(failed), prompts)
    outside = ((quality < 0) | (quality > 1)).any(axis=1)
    if outside.any():
        raise TableError(f"{path}: prompt {outside.idxmax()!r} has a score outside 0..1")
    tensors = {"answers": _matrix(rows, rows["response"], prompts)}
    for stem, name in NUMBERS.items():
        tensors[stem] = _matrix(rows, _numbers(path, rows, name).mask(failed), prompts)
    tensors = {stem: cells for stem, cells in tensors.items() if cells.notna().any(axis=None)}
    meta: dict[str, Any] = {
        "source": "ulab-uiuc/LLMRouter, routing data",
        "quality": "the task's metric, 0..1; NaN where the call failed",
        "failed_calls": int(failed.sum()),
        "logged": sorted(tensors),
        "note": "tokens are counted words where the API gave none",
    }
    prices = _prices(path)
    if prices:
        meta["prices_usd_per_million_tokens"] = prices
        if {"in_tokens", "out_tokens"} <= set(tensors):
            tensors["cost_usd"] = _cost(tensors["in_tokens"], tensors["out_tokens"], prices)
            meta["derived"] = {"cost_usd": "logged tokens times the prices"}
    return RoutingTable(prompts, quality, tensors, meta)


def _files(path: Path) -> dict[str, Path]:
    """The file of each split."""
    if path.is_file():
        found = {split: path for split, name in FILES.items() if path.name == name}
    else:
        below = (path, path / "routing_data")
        places = [(split, folder / name) for split, name in FILES.items() for folder in below]
        found = {split: file for split, file in places if file.is_file()}
    if not found:
        raise TableError(f"{path}: no {' and no '.join(FILES.values())}")
    return found


def _rows(file: Path, split: str) -> pd.DataFrame:
    """Every line, dtype object; keys that no line has are columns of None."""
    records = []
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    records.append(_record(f"{file}:{number}", line))
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(f"{file}: cannot be read: {error}") from error
    if not records:
        raise TableError(f"{file}: holds no lines")
    rows = pd.DataFrame(records, columns=sorted(KNOWN), dtype="object")
    return rows.assign(split=split, prompt_id=[f"{split}-{r['embedding_id']}" for r in records])


def _record(place: str, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise TableError(f"{place}: not JSON: {error}") from error
    if not isinstance(record, dict):
        raise TableError(f"{place}: not a JSON object")
    missing = [name for name in NEEDED if name not in record]
    unknown = sorted(set(record) - KNOWN - IGNORED)
    if missing:
        raise TableError(f"{place}: keys missing: {', '.join(missing)}")
    if unknown:
        raise TableError(f"{place}: unknown keys: {', '.join(unknown)}")
    for name in ("embedding_id", "model_name", "task_name"):
        if record[name] is None:
            raise TableError(f"{place}: {name} is null")
    answer = record["ground_truth"]
    if not isinstance(answer, str | None):
        record["ground_truth"] = json.dumps(answer, ensure_ascii=False)
    return record


def _prompts(path: Path, rows: pd.DataFrame) -> pd.DataFrame:
    absent = [not (isinstance(query, str) and query) for query in rows["query"]]
    if any(absent):
        raise TableError(f"{path}: prompt {rows.loc[absent, 'prompt_id'].iloc[0]!r} has no query")
    again = rows.duplicated(["prompt_id", "model_name"])
    if again.any():
        prompt, expert = rows.loc[again, ["prompt_id", "model_name"]].iloc[0]
        raise TableError(f"{path}: prompt id {prompt!r} occurs twice for {expert!r}")
    columns = {"task_name": "task", "query": "prompt", "ground_truth": "answer"}
    prompts = rows[["prompt_id", "split", *columns, "metric"]].drop_duplicates()
    prompts = prompts.rename(columns=columns).astype("str").set_index("prompt_id")
    if prompts.index.has_duplicates:
        twice = prompts.index[prompts.index.duplicated()][0]
        raise TableError(f"{path}: prompt id {twice!r} occurs twice, with two prompts")
    return prompts


def _numbers(path: Path, rows: pd.DataFrame, name: str) -> pd.Series[float]:
    """A column as float64, None as NaN."""
    try:
        return rows[name].astype("float64")
    except (TypeError, ValueError) as error:
        raise TableError(f"{path}: {name} is not a number: {error}") from None


def _matrix(rows: pd.DataFrame, cells: pd.Series[Any], prompts: pd.DataFrame) -> pd.DataFrame:
    """Cells of all lines as [prompts, experts]; a pair without a line is NaN."""
    experts = rows["model_name"].drop_duplicates().tolist()
    wide = rows.assign(cell=cells).pivot(index="prompt_id", columns="model_name", values="cell")
    return wide.loc[prompts.index, experts].set_axis(experts, axis="columns")


def _prices(path: Path) -> dict[str, dict[str, float]]:
    """US dollars per million tokens of each expert in default_llm.json; empty without the file."""
    for file in (path / PRICES, path / "llm_candidates" / PRICES):
        if file.is_file():
            try:
                models = json.loads(file.read_text(encoding="utf-8"))
                return {
                    str(name): {
                        "input": float(m["input_price"]),
                        "output": float(m["output_price"]),
                    }
                    for name, m in models.items()
                }
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise TableError(f"{file}: not prices by expert: {error!r}") from error
    return {}


def _cost(
    in_tokens: pd.DataFrame, out_tokens: pd.DataFrame, prices: dict[str, dict[str, float]]
) -> pd.DataFrame:
    """Dollars; NaN for an expert without a price."""
    per_token = pd.DataFrame(prices).reindex(columns=in_tokens.columns) / 1e6
    return in_tokens * per_token.loc["input"] + out_tokens * per_token.loc["output"]
