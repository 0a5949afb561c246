"""A routing table's cells as what a cascade would have seen: answers, costs, certainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from serve import weights
from serve.config import RouterSettings
from serve.encoding.transformer import TransformerEncoder
from serve.errors import SettingsError, TableError
from serve.offline.embed import embed
from serve.offline.table import RoutingTable
from serve.protocol import Doubles
from serve.routing import artifact
from serve.routing.cascade import Signal, decides_on


@dataclass(frozen=True)
class Source:
    """Where the certainty of answers is read.

    Attributes:
        signal: what the settings are to name; None: cells that no setting names.
        cells: file stem of a tensor of the table; None: the signal's own.
        artifact: folder of a router, for the signal predicted_quality alone.
        router: its encoder, and lambda for its guard.
    """

    signal: Signal | None
    cells: str | None = None
    artifact: Path | None = None
    router: RouterSettings = field(default_factory=RouterSettings)

    @property
    def predicted(self) -> bool:
        """Whether a router says it before an expert is asked."""
        return self.signal is not None and decides_on(self.signal) == "prompt"

    @property
    def stem(self) -> str:
        """Of the cells that hold it."""
        return self.cells or str(self.signal)

    def require(self) -> None:
        """Raise SettingsError unless it is clear where the signal comes from."""
        if self.signal is None and self.cells is None:
            raise SettingsError("--signal: name one, or --cells of the table")
        if self.predicted and self.artifact is None:
            raise SettingsError(
                "--signal predicted_quality: a router predicts it; name it with --artifact"
            )
        if self.predicted and self.cells is not None:
            raise SettingsError("--cells: a router predicts predicted_quality; leave out one")
        if not self.predicted and self.artifact is not None:
            raise SettingsError("--artifact: only --signal predicted_quality needs a router")


def load(folder: Path, source: Source, tiers: Sequence[str]) -> tuple[RoutingTable, list[str]]:
    """The table with the prompts that every tier answered, and a line for what was left out.

    Raises:
        TableError, SettingsError: one line; see require() of Source, and `comparable`.
    """
    table = RoutingTable.load(folder, [source.stem])
    strangers = [name for name in tiers if name not in table.experts]
    if strangers:
        raise TableError(f"{folder}: no expert {strangers[0]!r}; it has {', '.join(table.experts)}")
    if len(set(tiers)) != len(tiers) or len(tiers) < 2:
        raise SettingsError(f"--tiers: two or more different experts, got {','.join(tiers)}")
    if source.artifact is not None:
        table = _unseen(table, source.artifact, folder)
    usable, notes = table.pool(tiers).comparable(folder)
    if usable.experts != list(tiers):
        gone = next(name for name in tiers if name not in usable.experts)
        raise TableError(f"{folder}: {gone!r} is measured on too few prompts to be a tier")
    ids = usable.prompts.index[usable.complete]
    return table.rows(ids), notes


def signal_of(table: RoutingTable, source: Source, tiers: Sequence[str], where: Path) -> Doubles:
    """(N, T - 1) certainty of all tiers but the last, -inf where it is not known.

    Raises:
        TableError: the table lacks it.
        ArtifactError: the router does not fit.
    """
    asked = list(tiers[:-1])
    if source.predicted:
        return _predicted(table, source, asked)
    if source.stem not in table.tensors:
        raise TableError(
            f"{where}: {source.stem}.parquet is missing: `pointsman prepare --certainty` keeps the "
            "certainty of answers, --cells names other cells"
        )
    cells = table.tensors[source.stem][asked]
    for name in asked:
        if cells[name].isna().all():
            raise TableError(f"{where}: {source.stem} of expert {name!r} is not known")
        if not pd.api.types.is_numeric_dtype(cells[name]):
            raise TableError(f"{where}: {source.stem} of expert {name!r} is not a number")
    return cells.fillna(-np.inf).to_numpy(dtype=np.float64)


def _unseen(table: RoutingTable, folder: Path, where: Path) -> RoutingTable:
    """Prompts that the router did not learn from: it knows the others too well."""
    if artifact.load(folder).table != table.fingerprint():
        return table
    if "split" not in table.prompts or not (table.prompts["split"] == "test").any():
        raise TableError(
            f"{where}: {folder} learned from all of its prompts and cannot be judged on them; a "
            "table with a split keeps some back"
        )
    return table.split("test")


def _predicted(table: RoutingTable, source: Source, asked: Sequence[str]) -> Doubles:
    """As the ingress sees it: by the router, or by its guard where that decides."""
    assert source.artifact is not None
    loaded = artifact.load(source.artifact)
    encoder = TransformerEncoder(weights.folder(source.router.encoder))
    known = loaded.predictor.experts
    # A router of the whole table may serve a cascade of some of its experts.
    loaded.require(
        experts=[*known, *(name for name in asked if name not in known)],
        encoder=encoder.name,
        where=str(source.artifact),
    )
    prediction = loaded.predictor.predict(embed(table.texts, encoder))
    if loaded.guard is not None:
        lam = source.router.as_objective().lam
        prediction = loaded.guard.apply(prediction, loaded.guard.holds(prediction, lam))
    columns = [known.index(name) for name in asked]
    return prediction.quality[:, columns].astype(np.float64)
