"""EmbedLLM's correctness files (112 experts) as a routing table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from serve.errors import TableError
from serve.offline.table import RoutingTable

SPLITS = ("train", "val", "test")
NEEDED = ["prompt_id", "model_name", "category", "label", "prompt"]
IGNORED = {"model_id", "category_id"}
# train.csv is 2.7 GB, nearly all of it each prompt's text once per expert.
CHUNK = 200_000


def read(path: Path) -> RoutingTable:
    """Read train.csv, val.csv or test.csv, or those of them that a folder holds.

    Published as the Hugging Face dataset RZ412/EmbedLLM (code: richardzhuang0412/EmbedLLM). A row
    per prompt and expert: prompt_id, model_id, category_id, label (1 right, 0 wrong), model_name,
    category and prompt. The files list some prompts several times, under one category or under
    several; quality is then the mean label and the task all their categories, joined by "|".

    Returns:
        Prompts by prompt_id, split train, val or test after the file, without answer; quality
        0..1; no tensors. [prompts, experts]

    Raises:
        TableError: no such file, a column is missing or unknown, a prompt is missing, an id has
            two prompts or is in two files, or a label is not a number in 0..1.
    """
    files = [path] if path.is_file() else [path / f"{split}.csv" for split in SPLITS]
    files = [file for file in files if file.is_file() and file.stem in SPLITS]
    if not files:
        raise TableError(f"{path}: no train.csv, val.csv or test.csv")
    parts = [_part(file) for file in files]
    prompts = pd.concat([part[0] for part in parts])
    if prompts.index.has_duplicates:
        again = prompts.index[prompts.index.duplicated()][0]
        raise TableError(f"{path}: prompt id {again!r} occurs in two files")
    meta = {
        "source": "RZ412/EmbedLLM (Hugging Face dataset)",
        "license": "Apache-2.0",
        "quality": "correct 0/1; the mean where a prompt is listed several times",
        "repeated_measurements": sum(part[2] for part in parts),
        "logged": [],
    }
    return RoutingTable(prompts, pd.concat([part[1] for part in parts]), {}, meta)


def _part(file: Path) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Prompts, quality, and how many pairs of prompt and expert have several rows."""
    texts, cells = [], []
    for chunk in _chunks(file):
        texts.append(chunk[["prompt_id", "category", "prompt"]].drop_duplicates())
        cells.append(chunk[["prompt_id", "model_name", "label"]])
    rows = pd.concat(cells) if cells else pd.DataFrame()
    if rows.empty:
        raise TableError(f"{file}: holds no rows")
    prompts = _prompts(file, pd.concat(texts))
    outside = (rows["label"] < 0) | (rows["label"] > 1)
    if outside.any():
        row = rows[outside].iloc[0]
        raise TableError(f"{file}: prompt {row['prompt_id']!r}: label {row['label']} outside 0..1")
    pairs = rows.groupby(["prompt_id", "model_name"], sort=False)["label"]
    quality = pairs.mean().unstack("model_name")
    quality = quality.reindex(prompts.index)[rows["model_name"].drop_duplicates().tolist()]
    return prompts, quality.rename_axis(columns=None), int((pairs.size() > 1).sum())


def _chunks(file: Path) -> Iterator[pd.DataFrame]:
    try:
        # As text, so that an id keeps its digits and a prompt that reads NA stays one.
        reader = pd.read_csv(file, dtype="str", keep_default_na=False, chunksize=CHUNK)
        for chunk in reader:
            names = {str(name) for name in chunk}
            missing, unknown = sorted(set(NEEDED) - names), sorted(names - set(NEEDED) - IGNORED)
            if missing:
                raise TableError(f"{file}: columns missing: {', '.join(missing)}")
            if unknown:
                raise TableError(f"{file}: unknown columns: {', '.join(unknown)}")
            for name in ("prompt_id", "model_name"):
                if (chunk[name] == "").any():
                    raise TableError(f"{file}: a row has no {name}")
            yield chunk.assign(label=_labels(file, chunk))
    except (OSError, ValueError) as error:
        raise TableError(f"{file}: not a CSV file: {error}") from error


def _labels(file: Path, chunk: pd.DataFrame) -> pd.Series[float]:
    """Labels as numbers, an empty one NaN."""
    labels = pd.to_numeric(chunk["label"], errors="coerce").astype("float64")
    bad = labels.isna() & (chunk["label"] != "")
    if bad.any():
        row = chunk[bad].iloc[0]
        raise TableError(
            f"{file}: prompt {row['prompt_id']!r}: label {row['label']!r} is not a number"
        )
    return labels


def _prompts(file: Path, texts: pd.DataFrame) -> pd.DataFrame:
    texts = texts.drop_duplicates()
    absent = texts["prompt"] == ""
    if absent.any():
        raise TableError(f"{file}: prompt {texts.loc[absent, 'prompt_id'].iloc[0]!r} has no prompt")
    prompts = texts[["prompt_id", "prompt"]].drop_duplicates().set_index("prompt_id")
    if prompts.index.has_duplicates:
        again = prompts.index[prompts.index.duplicated()][0]
        raise TableError(f"{file}: prompt id {again!r} occurs twice, with two prompts")
    tasks = texts.groupby("prompt_id")["category"].agg(lambda names: "|".join(sorted(set(names))))
    columns = {
        "task": tasks.reindex(prompts.index),
        "split": file.stem,
        "prompt": prompts["prompt"],
    }
    return pd.DataFrame(columns)
