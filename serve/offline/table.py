"""A routing table on disk: every prompt's quality, tokens and cost under every expert.

A folder of prompts.parquet (index prompt_id; prompt and, where known, task, split, answer),
quality.parquet and optional tensors of the same shape (prompt_id x expert), and meta.json.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from serve.errors import TableError

TENSORS = (
    *("cost_usd", "in_tokens", "out_tokens", "ttft_s", "latency_s", "nll"),
    *("bertsim", "cosine", "exact", "choice", "confidence", "answers", "errors"),
    *("mean_logprob", "min_logprob", "margin"),
)
AMOUNTS = ("cost_usd", "in_tokens", "out_tokens", "ttft_s", "latency_s")
MIN_PROMPTS = 30
"""Fewer cannot be split 60/10/30 and still say anything."""

MIN_COVERAGE = 0.95
"""An expert measured on a smaller share of the prompts is not compared with the others: of a prompt
with a gap the best expert is not known, and one bad column would spoil the test for all."""


@dataclass(frozen=True)
class RoutingTable:
    """Prompts x experts.

    Attributes:
        prompts: index prompt_id, at least task and prompt.
        quality: prompt_id x expert, 0..1, NaN where not measured.
        tensors: other measurements of the same shape, by file stem.
        meta: source, prices and what is logged or derived.
    """

    prompts: pd.DataFrame
    quality: pd.DataFrame
    tensors: dict[str, pd.DataFrame] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def experts(self) -> list[str]:
        """Expert ids, in column order."""
        return [str(name) for name in self.quality.columns]

    @property
    def texts(self) -> list[str]:
        """(N,) what a router reads."""
        return [str(text) for text in self.prompts["prompt"]]

    def rows(self, ids: pd.Index) -> RoutingTable:
        """Some of the prompts, in the order asked for."""
        return RoutingTable(
            self.prompts.loc[ids],
            self.quality.loc[ids],
            {stem: tensor.loc[ids] for stem, tensor in self.tensors.items()},
            self.meta,
        )

    def pool(self, experts: Sequence[str]) -> RoutingTable:
        """Some of the experts, in the order asked for."""
        chosen = list(experts)
        tensors = {stem: tensor.reindex(columns=chosen) for stem, tensor in self.tensors.items()}
        return RoutingTable(self.prompts, self.quality[chosen], tensors, self.meta)

    def split(self, name: str) -> RoutingTable:
        """The rows of one split that the table itself names.

        Raises:
            TableError: the table has none.
        """
        named = self.prompts.get("split", pd.Series("", index=self.prompts.index))
        ids = self.prompts.index[named == name]
        if len(ids) == 0:
            raise TableError(f"the table has no prompts of split {name!r}")
        return self.rows(ids)

    def learnable(self, where: object = "the table") -> tuple[RoutingTable, list[str]]:
        """Every expert, on the prompts that have a text and an answer; and a line for what was not.

        Args:
            where: begins an error.

        Raises:
            TableError: fewer than two experts, or one with answers to too few prompts.
        """
        text, answered = self.prompts["prompt"].notna(), self.quality.notna()
        usable = text & answered.any(axis=1)
        notes = []
        if not usable.all():
            notes.append(
                f"{int((~usable).sum())} of {len(usable)} prompts left out: no text, or no answer"
            )
        if len(self.experts) < 2:
            raise TableError(
                f"{where}: routing needs at least 2 experts, here is {self.experts[0]}"
            )
        texts = self.prompts["prompt"].astype(str)
        for name in self.experts:
            # Prompts of one text stay together in a split, so they count once.
            different = texts[usable & answered[name]].nunique()
            if different < MIN_PROMPTS:
                raise TableError(
                    f"{where}: a router needs at least {MIN_PROMPTS} different prompts, here are "
                    f"{len(self.prompts)}, {different} of them with a text and answered by {name!r}"
                )
        return self.rows(self.prompts.index[usable]), notes

    def comparable(self, where: object = "the table") -> tuple[RoutingTable, list[str]]:
        """The pool and prompts on which experts can be compared, and a line for what was left out.

        An expert measured on fewer prompts than MIN_COVERAGE of the best measured one's goes. A
        prompt with some answers missing stays: there is something to learn from it, and
        split_prompts keeps it out of the test prompts.

        Args:
            where: begins an error.

        Raises:
            TableError: fewer than two experts or MIN_PROMPTS prompts are left.
        """
        coverage = self.quality[self.prompts["prompt"].notna()].notna().mean()
        kept = [name for name in self.experts if coverage[name] >= MIN_COVERAGE * coverage.max()]
        gone = [name for name in self.experts if name not in kept]
        if len(kept) < 2 <= len(self.experts):
            raise TableError(
                f"{where}: routing needs at least 2 experts measured on about the same prompts; "
                f"{kept[0]!r} is measured on {coverage.max():.0%} of them, {gone[0]!r} on "
                f"{coverage[gone[0]]:.0%}"
            )
        usable, notes = self.pool(kept).learnable(where)
        if gone:
            notes.append(
                f"{len(gone)} experts measured on too few prompts left out: {', '.join(gone)}"
            )
        complete = usable.complete
        if not complete.all():
            notes.append(
                f"{int((~complete).sum())} of {len(complete)} prompts are for learning alone: "
                "an answer was not measured"
            )
        different = usable.prompts["prompt"][complete].nunique()
        if different < MIN_PROMPTS:
            raise TableError(
                f"{where}: judging needs at least {MIN_PROMPTS} different prompts answered by all "
                f"experts, here are {different}"
            )
        return usable, notes

    @property
    def complete(self) -> pd.Series:
        """By prompt: whether every expert's answer was measured."""
        return self.quality.notna().all(axis=1)

    def fingerprint(self) -> str:
        """12 hex digits over prompts, experts and quality."""
        digest = hashlib.sha256()
        digest.update(pd.util.hash_pandas_object(self.prompts["prompt"]).to_numpy().tobytes())
        digest.update("\n".join(self.experts).encode())
        digest.update(self.quality.to_numpy(dtype="float32").tobytes())
        return digest.hexdigest()[:12]

    def save(self, folder: Path) -> None:
        """Write the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.prompts.to_parquet(folder / "prompts.parquet", compression="zstd")
        self.quality.to_parquet(folder / "quality.parquet", compression="zstd")
        for stem, tensor in self.tensors.items():
            tensor.to_parquet(folder / f"{stem}.parquet", compression="zstd")
        (folder / "meta.json").write_text(json.dumps(self.meta, indent=2) + "\n")

    @classmethod
    def load(cls, folder: Path, more: Sequence[str] = ()) -> RoutingTable:
        """Read a folder and check it.

        Args:
            folder: of the table.
            more: stems of tensors to read beside the usual ones, where they are there.

        Raises:
            TableError: one line that names the folder, the file and what is wrong.
        """
        for name in ("prompts.parquet", "quality.parquet", "meta.json"):
            if not (folder / name).exists():
                raise TableError(f"{folder}: {name} is missing")
        prompts = _read(folder / "prompts.parquet")
        quality = _read(folder / "quality.parquet")
        _check_prompts(folder, prompts)
        _check_quality(folder, prompts, quality)
        tensors = {
            stem: _read(folder / f"{stem}.parquet")
            for stem in dict.fromkeys([*TENSORS, *more])
            if (folder / f"{stem}.parquet").exists()
        }
        tensors = {stem: _aligned(folder, stem, t, quality) for stem, t in tensors.items()}
        return cls(prompts, quality.astype("float64"), tensors, _meta(folder))


def _read(file: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise TableError(f"{file} is not a Parquet file that can be read: {first}") from None


def _meta(folder: Path) -> dict[str, Any]:
    file = folder / "meta.json"
    try:
        meta = json.loads(file.read_text())
    except ValueError as error:
        raise TableError(f"{file} is not JSON: {error}") from None
    if not isinstance(meta, dict):
        raise TableError(f"{file} must hold a JSON object")
    return meta


def _check_prompts(folder: Path, prompts: pd.DataFrame) -> None:
    if "prompt" not in prompts:
        raise TableError(f"{folder}: prompts.parquet has no column prompt")
    doubled = prompts.index[prompts.index.duplicated()]
    if len(doubled):
        raise TableError(f"{folder}: prompt id {doubled[0]!r} is used twice in prompts.parquet")
    if "task" not in prompts:
        prompts["task"] = "all"
    prompts["task"] = prompts["task"].fillna("none").astype(str)


def _check_quality(folder: Path, prompts: pd.DataFrame, quality: pd.DataFrame) -> None:
    if not prompts.index.equals(quality.index):
        raise TableError(f"{folder}: prompts.parquet and quality.parquet differ in prompt ids")
    doubled = quality.columns[quality.columns.duplicated()]
    if len(doubled):
        raise TableError(f"{folder}: expert {doubled[0]!r} is used twice in quality.parquet")
    for name in quality:
        column = quality[name]
        if not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)):
            raise TableError(f"{folder}: quality of expert {name!r} is not a number")
        if column.isna().all():
            raise TableError(f"{folder}: expert {name!r} has no measured quality, only NaN")
        if ((column < 0) | (column > 1)).any():
            raise TableError(f"{folder}: quality of expert {name!r} is outside 0..1")


def _check_amount(folder: Path, stem: str, expert: str, column: pd.Series) -> None:
    if column.isna().all():
        return
    if not pd.api.types.is_numeric_dtype(column):
        raise TableError(f"{folder}: {stem} of expert {expert!r} is not a number")
    if ((column < 0) | np.isinf(column)).any():
        raise TableError(f"{folder}: {stem} of expert {expert!r} is negative or infinite")


def _aligned(folder: Path, stem: str, tensor: pd.DataFrame, quality: pd.DataFrame) -> pd.DataFrame:
    """The tensor with the rows and columns of quality; an expert it lacks is all NaN."""
    unknown = [name for name in tensor.columns if name not in quality.columns]
    if unknown:
        raise TableError(
            f"{folder}: {stem}.parquet has experts that quality.parquet does not: {unknown[:3]}"
        )
    if not tensor.index.equals(quality.index):
        raise TableError(f"{folder}: {stem}.parquet and quality.parquet differ in prompt ids")
    if stem in AMOUNTS:
        for name in tensor:
            _check_amount(folder, stem, str(name), tensor[name])
    return tensor.reindex(columns=quality.columns)
