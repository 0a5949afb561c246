"""Loads the routers that the settings name: artifacts and encoder -> Rollout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serve import weights
from serve.config import RolloutSettings, Settings
from serve.encoding.identity import encoder_name
from serve.online.abilities import abilities_of, embeds
from serve.protocol import Encoder, Expert, Predictor, Query, TokenCounter
from serve.routing import artifact
from serve.routing.constant import ConstantPredictor
from serve.routing.guard import Guard
from serve.routing.pipeline import RoutingPipeline
from serve.routing.rollout import Rollout


def check_router(settings: Settings, rollout: RolloutSettings) -> None:
    """Raise ArtifactError or WeightsError where load_rollout would, without loading a model."""
    _predictor(settings, rollout.artifact or settings.router.artifact)
    if rollout.challenger is not None:
        _predictor(settings, rollout.challenger.artifact)


def load_encoder(settings: Settings) -> Encoder:
    """The encoder, on the cores reserved for the replica: more would take them from the experts."""
    from serve.encoding.transformer import TransformerEncoder

    threads = max(1, round(settings.router.cpus))
    return TransformerEncoder(weights.folder(settings.router.encoder), threads=threads)


@dataclass(frozen=True)
class Pool:
    """What every router of an application decides about.

    Attributes:
        encoder: of texts.
        experts: with what they can do.
        counter: of their tokens; None: estimates serve.
    """

    encoder: Encoder
    experts: Sequence[Expert]
    counter: TokenCounter | None = None


def load_pool(settings: Settings) -> Pool:
    """The encoder, and what the experts' models say of themselves."""
    from serve.encoding.tokens import ExpertTokenizers

    experts = [
        expert.as_expert(abilities_of(expert)) for expert in settings.experts if not embeds(expert)
    ]
    places = {e.id: weights.resolve(e.model) for e in settings.experts if e.model is not None}
    return Pool(load_encoder(settings), experts, ExpertTokenizers(places))


def load_rollout(settings: Settings, rollout: RolloutSettings, pool: Pool) -> Rollout:
    """Routers that have decided once, so the first request does not pay for the warm-up.

    Raises:
        ArtifactError: an artifact is broken, or of another pool or encoder.
    """
    served = load_pipeline(settings, rollout.artifact or settings.router.artifact, pool)
    challenger = rollout.challenger
    loaded = (
        Rollout(served)
        if challenger is None
        else Rollout(served, load_pipeline(settings, challenger.artifact, pool), challenger.share)
    )
    loaded.decide([Query("warm-up", 1)], [0.0])
    return loaded


def load_pipeline(settings: Settings, folder: str | None, pool: Pool) -> RoutingPipeline:
    """The router of one artifact; without a folder, the cheapest expert always.

    Raises:
        ArtifactError: it is broken, or of another pool or encoder.
    """
    predictor, label, guard = _predictor(settings, folder)
    return RoutingPipeline(
        pool.encoder,
        predictor,
        pool.experts,
        router=label,
        objective=settings.router.as_objective(),
        guard=guard,
        policy=settings.router.as_policy(),
        counter=pool.counter,
    )


def _predictor(settings: Settings, folder: str | None) -> tuple[Predictor, str, Guard | None]:
    ids = [expert.id for expert in settings.experts if not embeds(expert)]
    if folder is None:
        nothing = np.zeros(len(ids), dtype=np.float32)
        return ConstantPredictor(ids, nothing, nothing), "constant@0", None
    path = Path(folder).expanduser()
    loaded = artifact.load(path)
    encoder = encoder_name(weights.folder(settings.router.encoder))
    loaded.require(experts=ids, encoder=encoder, where=str(path))
    return loaded.predictor, loaded.label, loaded.guard
