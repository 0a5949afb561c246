"""Loads the router that the settings name: artifact and encoder -> RoutingPipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from serve import weights
from serve.config import RouterSettings, Settings
from serve.encoding.identity import encoder_name
from serve.protocol import Predictor, Query
from serve.routing import artifact
from serve.routing.constant import ConstantPredictor
from serve.routing.guard import Guard
from serve.routing.pipeline import RoutingPipeline


def check_router(settings: Settings) -> None:
    """Raise ArtifactError or WeightsError where load_pipeline would, without loading a model."""
    _predictor(settings)


def load_pipeline(settings: Settings) -> RoutingPipeline:
    """A pipeline that has decided once, so the first request does not pay for the warm-up."""
    from serve.encoding.transformer import TransformerEncoder

    predictor, label, guard = _predictor(settings)
    pipeline = RoutingPipeline(
        TransformerEncoder(
            weights.folder(settings.router.encoder), threads=_threads(settings.router)
        ),
        predictor,
        [expert.as_expert() for expert in settings.experts],
        router=label,
        objective=settings.router.as_objective(),
        guard=guard,
    )
    pipeline.decide([Query("warm-up", 1)])
    return pipeline


def _threads(router: RouterSettings) -> int:
    """The cores reserved for the replica: more would take them from the experts."""
    return max(1, round(router.cpus))


def _predictor(settings: Settings) -> tuple[Predictor, str, Guard | None]:
    ids = [expert.id for expert in settings.experts]
    if settings.router.artifact is None:
        nothing = np.zeros(len(ids), dtype=np.float32)
        return ConstantPredictor(ids, nothing, nothing), "constant@0", None
    folder = Path(settings.router.artifact).expanduser()
    loaded = artifact.load(folder)
    encoder = encoder_name(weights.folder(settings.router.encoder))
    loaded.require(experts=ids, encoder=encoder, where=str(folder))
    return loaded.predictor, loaded.label, loaded.guard
