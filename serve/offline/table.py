"""A routing table on disk: every prompt's quality, tokens and cost under every expert.

A folder of prompts.parquet (index prompt_id; task, split, prompt, answer), quality.parquet and
optional tensors of the same shape (prompt_id x expert), and meta.json.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from serve.errors import TableError

TENSORS = ("cost_usd", "in_tokens", "out_tokens", "latency_s", "bertsim", "cosine", "answers")


@dataclass(frozen=True)
class RoutingTable:
    """Prompts x experts.

    Attributes:
        prompts: index prompt_id, at least task, split and prompt.
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

    def split(self, name: str) -> RoutingTable:
        """The rows of one split.

        Raises:
            TableError: the table has none.
        """
        ids = self.prompts.index[self.prompts["split"] == name]
        if len(ids) == 0:
            raise TableError(f"the table has no prompts of split {name!r}")
        return RoutingTable(
            self.prompts.loc[ids],
            self.quality.loc[ids],
            {stem: tensor.loc[ids] for stem, tensor in self.tensors.items()},
            self.meta,
        )

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
    def load(cls, folder: Path) -> RoutingTable:
        """Read a folder.

        Raises:
            TableError: a file is missing, or quality is outside 0..1.
        """
        for name in ("prompts.parquet", "quality.parquet", "meta.json"):
            if not (folder / name).exists():
                raise TableError(f"{folder}: {name} is missing")
        prompts = pd.read_parquet(folder / "prompts.parquet")
        quality = pd.read_parquet(folder / "quality.parquet")
        meta = json.loads((folder / "meta.json").read_text())
        if not prompts.index.equals(quality.index):
            raise TableError(f"{folder}: prompts.parquet and quality.parquet differ in prompt ids")
        if ((quality < 0) | (quality > 1)).any(axis=None):
            raise TableError(f"{folder}: quality.parquet holds values outside 0..1")
        tensors = {
            stem: pd.read_parquet(folder / f"{stem}.parquet")
            for stem in TENSORS
            if (folder / f"{stem}.parquet").exists()
        }
        return cls(prompts, quality, tensors, meta)
