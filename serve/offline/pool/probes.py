"""The prompts that an artifact carries so that its pool can change: a routing table and a little.

A folder `probes` beside the manifest: the routing table of some training prompts, in the order in
which a new expert is to be asked them, and probes.safetensors with what need not be computed again:
vectors, clusters, prices, and what the router said of these prompts before it had seen them.
Serving reads none of it.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from serve.errors import ArtifactError
from serve.offline.cost import Costs
from serve.offline.fit.data import Rows
from serve.offline.table import RoutingTable
from serve.protocol import Floats, Prediction

FOLDER = "probes"
ARRAYS = "probes.safetensors"


@dataclass(frozen=True)
class Probes:
    """n prompts under E experts.

    Attributes:
        table: the prompts and every expert's measured quality, NaN where it was not asked.
        vectors: (n, D).
        clusters: (n,) cluster of each prompt.
        held_out: what the router predicts for them by models that were fitted without them.
        costs: of the answers.
    """

    table: RoutingTable
    vectors: Floats
    clusters: Rows
    held_out: Prediction
    costs: Costs

    def rows(self, chosen: Rows) -> Probes:
        """Some of the prompts, in the order asked for."""
        said = self.held_out
        return Probes(
            self.table.rows(self.table.prompts.index[chosen]),
            self.vectors[chosen],
            self.clusters[chosen],
            Prediction(said.quality[chosen], said.output_tokens[chosen]),
            self.costs.rows(chosen),
        )

    def keep(self, experts: Sequence[str]) -> Probes:
        """Some of the experts; what the router says of them is left as it was."""
        at = [self.table.experts.index(name) for name in experts]
        costs, said = self.costs, self.held_out
        return replace(
            self,
            table=self.table.pool(experts),
            held_out=Prediction(said.quality[:, at], said.output_tokens[:, at]),
            costs=Costs(
                costs.measured[:, at],
                costs.input_tokens[:, at],
                costs.fixed[at],
                costs.usd_input[at],
                costs.usd_output[at],
            ),
        )

    def save(self, artifact: Path) -> str:
        """Write them into the folder of an artifact; the hash that its manifest is to pin."""
        folder = artifact / FOLDER
        shutil.rmtree(folder, ignore_errors=True)
        self.table.save(folder)
        arrays = {
            "vectors": self.vectors,
            "clusters": self.clusters,
            "quality": self.held_out.quality,
            "output_tokens": self.held_out.output_tokens,
            **{name: np.asarray(value) for name, value in vars(self.costs).items()},
        }
        contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        save_file(contiguous, folder / ARRAYS)
        return _digest(folder)

    @classmethod
    def load(cls, artifact: Path, pinned: str | None) -> Probes:
        """Read and verify the probes of an artifact.

        Raises:
            ArtifactError: it has none, or not those that its manifest pins.
        """
        folder = artifact / FOLDER
        if pinned is None or not folder.is_dir():
            raise ArtifactError(
                f"{artifact}: the artifact carries no probes, which a change of the pool is "
                "measured on; train it again with this version, and not with --probes 0"
            )
        if _digest(folder) != pinned:
            raise ArtifactError(f"{folder} is not the folder its manifest pins; restore it")
        arrays = load_file(folder / ARRAYS)
        costs = ("measured", "input_tokens", "fixed", "usd_input", "usd_output")
        return cls(
            RoutingTable.load(folder),
            arrays["vectors"],
            arrays["clusters"],
            Prediction(arrays["quality"], arrays["output_tokens"]),
            Costs(*(arrays[name] for name in costs)),
        )


def _digest(folder: Path) -> str:
    """SHA-256 over the names and bytes of the files."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        digest.update(f"{file.name}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
