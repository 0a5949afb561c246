"""Routing table -> router artifact: read, fit, calibrate the guard, choose probes, save."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from serve import weights
from serve.config import MINILM, Settings
from serve.encoding.transformer import TransformerEncoder
from serve.feedback import FeedbackStore
from serve.offline.cost import Costs, costs_of
from serve.offline.embed import embed
from serve.offline.feedback import with_feedback
from serve.offline.fit.data import Fitted, TrainingSet
from serve.offline.fit.registry import parse_router
from serve.offline.guard import calibrate
from serve.offline.pool.cover import choose
from serve.offline.pool.probes import FOLDER
from serve.offline.table import RoutingTable
from serve.offline.trial import PROBES, training_set
from serve.protocol import Encoder
from serve.routing import artifact
from serve.routing.artifact import Artifact
from serve.routing.guard import Guard

ENCODER = "encoder"
SEED = 0
VALIDATION = 1 / 7
"""Share of the training prompts kept for choosing hyper-parameters: 60 to 10, as in evaluation."""


@dataclass(frozen=True)
class Feedback:
    """Where users' scores are, and what they count.

    Attributes:
        database: as in the settings, `records.database`.
        weight: of a score against a measured answer, 0..1; see offline/feedback.py.
    """

    database: str
    weight: float


def train(
    folder: Path,
    name: str,
    settings: Settings | None,
    out: Path,
    *,
    probes: int = PROBES,
    feedback: Feedback | None = None,
) -> Artifact:
    """Fit a router on every prompt that the table does not call a test prompt.

    A router that brings its own encoder has it saved in `out`/encoder, for `router.encoder`.

    Args:
        folder: of the routing table.
        name: of the router, see fit/registry.py.
        settings: name the encoder; None takes the packaged one.
        out: folder of the artifact.
        probes: how many training prompts the artifact carries, so that its pool can change later;
            a router whose pool cannot carries none.
        feedback: users' scores to learn from as well.

    Raises:
        TableError, SettingsError: the table or the name is not in order.
    """
    router, _ = parse_router(name)
    table = RoutingTable.load(folder)
    usable, notes = table.learnable(folder)
    for note in notes:
        print(f"{folder}: {note}")
    splits = usable.prompts.get("split")
    if splits is not None and (splits != "test").any():
        usable = usable.rows(usable.prompts.index[splits != "test"])
    told: dict[str, Any] = {}
    if feedback is not None:
        usable = _with_feedback(usable, feedback)
        told = {"feedback_weight": feedback.weight}
    encoder = TransformerEncoder(weights.folder(settings.router.encoder if settings else MINILM))
    costs = costs_of(usable)
    data = _training_set(usable, costs, None if router.reads_text else encoder)
    return learn(
        usable,
        data,
        costs,
        name,
        encoder,
        out,
        table=table.fingerprint(),
        probes=probes,
        trained=told,
    )


def learn(
    usable: RoutingTable,
    data: TrainingSet,
    costs: Costs,
    name: str,
    encoder: Encoder,
    out: Path,
    *,
    table: str,
    probes: int = PROBES,
    trained: Mapping[str, Any] = MappingProxyType({}),
) -> Artifact:
    """Fit a router, calibrate its guard, choose its probes, and write all that.

    Args:
        usable: the prompts to learn from.
        data: the same, as fits read it.
        costs: of the same.
        name: of the router.
        encoder: that read them.
        out: folder of the artifact.
        table: fingerprint of the routing table.
        probes: see train().
        trained: what else the manifest is to tell its reader.
    """
    router, options = parse_router(name)
    fitted = router.fit(data, seed=SEED, **options)
    if fitted.encoder is not None:
        shutil.copytree(fitted.encoder, out / ENCODER, dirs_exist_ok=True)
        encoder = TransformerEncoder(str(out / ENCODER))
        print(f"the router has its own encoder; in the settings, router.encoder: {out / ENCODER}")
    guard = calibrate(fitted, data, costs)
    pinned = None
    if router.open and probes:
        pinned = choose(usable, data, costs, fitted, wanted=probes, seed=SEED).save(out)
    else:
        shutil.rmtree(out / FOLDER, ignore_errors=True)
    saved = artifact.save(
        out,
        fitted.predictor,
        name=name.partition(":")[0],
        encoder=encoder.name,
        dimension=encoder.dimension,
        table=table,
        trained={"prompts": len(data.texts), "seed": SEED, "chosen": dict(fitted.chosen)}
        | dict(trained),
        guard=guard,
        probes=pinned,
    )
    _report(saved.label, fitted, guard)
    return saved


def _with_feedback(table: RoutingTable, feedback: Feedback) -> RoutingTable:
    scored, blank = FeedbackStore(feedback.database).scored()
    if blank:
        print(f"{blank} scores left out: their prompts were not kept (records.prompts)")
    joined = with_feedback(table, scored, feedback.weight)
    rows = len(joined.prompts) - len(table.prompts)
    print(f"{rows} scores from feedback, each with weight {feedback.weight:g}")
    return joined


def _training_set(table: RoutingTable, costs: Costs, encoder: Encoder | None) -> TrainingSet:
    """With a seeded share of the prompts marked as validation; no vectors without an encoder."""
    blank = np.zeros((len(table.prompts), 0), dtype=np.float32)
    vectors = embed(table.texts, encoder) if encoder else blank
    data = training_set(table, vectors, costs)
    order = np.random.default_rng(SEED).permutation(len(data.texts))
    return replace(data, validation=order < VALIDATION * len(order))


def _report(label: str, fitted: Fitted, guard: Guard) -> None:
    trusted = [value for value in guard.lam if guard.trusts(float(value))]
    print(f"{label}: {dict(fitted.chosen)}")
    print(
        f"guard, from {guard.prompts} held-out prompts at confidence {guard.confidence}: the "
        f"router decides at {len(trusted)} of {len(guard.lam)} lambdas"
        + (f", {min(trusted):.4g} to {max(trusted):.4g} per US dollar" if trusted else "")
    )
