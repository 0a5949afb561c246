"""`pointsman retire`: an expert leaves a trained router; nothing is trained again."""

from __future__ import annotations

from pathlib import Path

from serve.errors import SettingsError
from serve.offline.pool.artifact import load_pool, save_pool
from serve.offline.pool.change import without
from serve.offline.pool.guard_change import CONFIDENCE


def retire(expert: str, folder: Path, out: Path, confidence: float = CONFIDENCE) -> str:
    """Write the artifact of the smaller pool; one line that names it.

    Args:
        expert: its id.
        folder: of the artifact.
        out: folder of the new one.
        confidence: at which the probes must vouch for the change, see guard_change.py.

    Raises:
        SettingsError: the router has no such expert, or routes between two alone.
        ArtifactError: the pool of this artifact cannot change.
    """
    loaded, pool = load_pool(folder)
    known = pool.predictor.experts
    if expert not in known:
        raise SettingsError(f"{folder}: no expert {expert!r}; there are: {', '.join(known)}")
    if len(known) <= 2:
        raise SettingsError(
            f"{folder}: {' and '.join(known)} are the last two experts, and routing needs two; "
            "to serve one alone, leave router.artifact out of the settings"
        )
    saved = save_pool(out, loaded, without(pool, expert, confidence), {"retired": expert})
    return (
        f"{out}: router {saved.label}, made from {loaded.label} without {expert}. In the settings, "
        f"take {expert} out of experts and set router.artifact: {out}"
    )
