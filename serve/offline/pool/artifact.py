"""An artifact as a pool that can change, and a changed pool as a new artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from serve.errors import ArtifactError
from serve.offline.pool.pool import Pool
from serve.offline.pool.probes import Probes
from serve.protocol import OpenPredictor
from serve.routing import artifact
from serve.routing.artifact import Artifact
from serve.routing.registry import OPEN


def load_pool(folder: Path) -> tuple[Artifact, Pool]:
    """An artifact, and its predictor, guard and probes.

    Raises:
        ArtifactError: its pool cannot change without training.
    """
    loaded = artifact.load(folder)
    if loaded.kind not in OPEN:
        from serve.offline.fit.registry import ROUTERS

        able = ", ".join(name for name, router in ROUTERS.items() if router.open)
        raise ArtifactError(
            f"{folder}: a {loaded.kind} router cannot change its pool without training again; "
            f"those that can: {able}"
        )
    predictor: OpenPredictor = loaded.predictor  # type: ignore[assignment]
    probes = Probes.load(folder, loaded.probes)
    assert loaded.guard is not None  # whoever writes probes writes a guard
    return loaded, Pool(predictor, loaded.guard, probes)


def save_pool(out: Path, before: Artifact, pool: Pool, trained: dict[str, Any]) -> Artifact:
    """A new artifact of the same name, encoder and table.

    Args:
        out: its folder.
        before: what it was made from.
        pool: the changed one.
        trained: what changed, for the reader alone.
    """
    return artifact.save(
        out,
        pool.predictor,
        name=before.name,
        encoder=before.encoder,
        dimension=before.dimension,
        table=before.table,
        trained={**trained, "from": before.label},
        guard=pool.guard,
        probes=pool.probes.save(out),
    )
