"""A trained router on disk: a folder of manifest.json and arrays.safetensors, never pickle.

The manifest names the predictor, its experts and numbers, the encoder it was trained on and the
table it learned from, and pins the arrays by SHA-256. The version is a hash of all of that, so a
changed byte is a different version, and a version that does not match its content is refused.

It may pin probes as well (offline/pool/probes.py), a folder that serving neither needs nor reads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from serve.errors import ArtifactError
from serve.protocol import Predictor, StoredPredictor
from serve.routing.guard import Guard
from serve.routing.registry import PREDICTORS

SCHEMA = 2
MANIFEST = "manifest.json"
ARRAYS = "arrays.safetensors"


@dataclass(frozen=True)
class Artifact:
    """A loaded router.

    Attributes:
        predictor: ready to predict.
        name: what its maker called it.
        version: 12 hex digits over everything it holds.
        encoder: Encoder.name it was trained on.
        dimension: width of a vector.
        table: fingerprint of the routing table it learned from.
        guard: where the best constant serves instead; None trusts the router everywhere.
        kind: of the predictor, as the registry names it.
        probes: SHA-256 of the probes that came with it; None: it has none.
    """

    predictor: Predictor
    name: str
    version: str
    encoder: str
    dimension: int
    table: str
    guard: Guard | None
    kind: str
    probes: str | None = None

    @property
    def label(self) -> str:
        """Name and version, as the x-pointsman-router header gives them."""
        return f"{self.name}@{self.version}"

    def require(
        self, *, experts: Iterable[str], encoder: str, where: str, table: str | None = None
    ) -> None:
        """Raise ArtifactError unless it was trained for this pool, encoder and (if given) table."""
        known, asked = sorted(self.predictor.experts), sorted(experts)
        if known != asked:
            raise ArtifactError(
                f"{where}: the router was trained for experts {known}, the settings have {asked}; "
                "train it on this pool, or correct the expert ids"
            )
        if self.encoder != encoder:
            raise ArtifactError(
                f"{where}: the router was trained on encoder {self.encoder}, the settings give "
                f"{encoder}; name the encoder it was trained on, or train it on this one"
            )
        if table is not None and self.table != table:
            raise ArtifactError(
                f"{where}: the router learned from table {self.table}, this is {table}; name the "
                "table it learned from, or train it on this one"
            )


def save(
    folder: Path,
    predictor: StoredPredictor,
    *,
    name: str,
    encoder: str,
    dimension: int,
    table: str,
    trained: dict[str, Any],
    guard: Guard | None = None,
    probes: str | None = None,
) -> Artifact:
    """Write a predictor of the registry to a folder.

    Args:
        folder: made where it is missing.
        predictor: of the registry.
        name: see Artifact.
        encoder: see Artifact.
        dimension: see Artifact.
        table: see Artifact.
        trained: how it came about, for the reader alone.
        guard: see Artifact.
        probes: see Artifact; whoever wrote them there knows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = predictor.arrays() | (guard.arrays() if guard else {})
    arrays = save_tensors({name: np.ascontiguousarray(array) for name, array in tensors.items()})
    manifest: dict[str, Any] = {
        "schema": SCHEMA,
        "name": name,
        "kind": predictor.kind,
        "experts": list(predictor.experts),
        "params": predictor.params(),
        "guard": guard.params() if guard else None,
        "encoder": encoder,
        "dimension": dimension,
        "table": table,
        "trained": trained,
        "probes_sha256": probes,
        "arrays_sha256": hashlib.sha256(arrays).hexdigest(),
    }
    manifest["version"] = _version(manifest)
    (folder / ARRAYS).write_bytes(arrays)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    return load(folder)


def load(folder: Path) -> Artifact:
    """Read and verify an artifact.

    Raises:
        ArtifactError: missing, corrupted, or written by another schema.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        raw = (folder / ARRAYS).read_bytes()
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{folder}: no router artifact here ({error.filename} is missing)"
        ) from error
    except ValueError as error:
        raise ArtifactError(f"{folder}/{MANIFEST} is not JSON ({error}); restore it") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise ArtifactError(f"{folder}/{MANIFEST}: schema must be {SCHEMA}; train the router again")
    if manifest.get("arrays_sha256") != hashlib.sha256(raw).hexdigest():
        raise ArtifactError(f"{folder}/{ARRAYS} is not the file its manifest pins; restore it")
    if manifest.get("version") != _version(manifest):
        raise ArtifactError(f"{folder}/{MANIFEST} was changed after it was written; restore it")
    kind = manifest["kind"]
    if kind not in PREDICTORS:
        raise ArtifactError(f"{folder}: unknown router kind {kind!r}; known: {sorted(PREDICTORS)}")
    tensors = load_tensors(raw)
    guard = manifest["guard"]
    return Artifact(
        predictor=PREDICTORS[kind].restore(manifest["experts"], tensors, manifest["params"]),
        name=manifest["name"],
        version=manifest["version"],
        encoder=manifest["encoder"],
        dimension=manifest["dimension"],
        table=manifest["table"],
        guard=Guard.restore(tensors, guard) if guard else None,
        kind=kind,
        probes=manifest.get("probes_sha256"),  # an artifact of an older version has no such line
    )


def _version(manifest: dict[str, Any]) -> str:
    content = {key: value for key, value in manifest.items() if key != "version"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
