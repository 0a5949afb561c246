"""Routing table -> router artifact: read the prompts, fit, calibrate the guard, save."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from serve import weights
from serve.config import MINILM, Settings
from serve.encoding.transformer import TransformerEncoder
from serve.errors import SettingsError
from serve.offline.cost import costs_of
from serve.offline.embed import embed
from serve.offline.fit.registry import parse_router
from serve.offline.guard import calibrate
from serve.offline.table import RoutingTable
from serve.offline.trial import training_set
from serve.routing import artifact
from serve.routing.artifact import Artifact

SEED = 0
VALIDATION = 1 / 7
"""Share of the training prompts kept for choosing hyper-parameters: 60 to 10, as in evaluation."""


def train(folder: Path, name: str, settings: Settings | None, out: Path) -> Artifact:
    """Fit a router on every prompt that the table does not call a test prompt.

    Args:
        folder: of the routing table.
        name: of the router, see fit/registry.py.
        settings: name the encoder; None takes the packaged one.
        out: folder of the artifact.

    Raises:
        TableError, SettingsError: the table or the name is not in order.
    """
    router, options = parse_router(name)
    table = RoutingTable.load(folder)
    usable, notes = table.comparable(folder)
    for note in notes:
        print(f"{folder}: {note}")
    splits = usable.prompts.get("split")
    if splits is not None and (splits != "test").any():
        usable = usable.rows(usable.prompts.index[splits != "test"])
    encoder = TransformerEncoder(weights.folder(settings.router.encoder if settings else MINILM))
    costs = costs_of(usable)
    data = training_set(usable, embed(usable.texts, encoder), costs)
    order = np.random.default_rng(SEED).permutation(len(data.texts))
    data = replace(data, validation=order < VALIDATION * len(order))
    fitted = router.fit(data, seed=SEED, **options)
    if fitted.encoder is not None:
        raise SettingsError(f"router {name!r} brings its own encoder; `train` cannot save it yet")
    guard = calibrate(fitted, data, costs)
    saved = artifact.save(
        out,
        fitted.predictor,
        name=name.partition(":")[0],
        encoder=encoder.name,
        dimension=encoder.dimension,
        table=table.fingerprint(),
        trained={"prompts": len(data.texts), "seed": SEED, "chosen": dict(fitted.chosen)},
        guard=guard,
    )
    trusted = [value for value in guard.lam if guard.trusts(float(value))]
    print(f"{saved.label}: {dict(fitted.chosen)}")
    print(
        f"guard, from {guard.prompts} held-out prompts at confidence {guard.confidence}: the "
        f"router decides at {len(trusted)} of {len(guard.lam)} lambdas"
        + (f", {min(trusted):.4g} to {max(trusted):.4g} per US dollar" if trusted else "")
    )
    return saved
