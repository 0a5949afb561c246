"""What an expert can take and do: its settings, else its engine arguments, else its model."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from serve import weights
from serve.config import ExpertSettings
from serve.terms import Abilities

logger = logging.getLogger("ray.serve")

POOLING = ("pooling", "embed", "classify", "score", "reward")
"""Values of vLLM's runner and task that leave an expert nothing to generate with."""


def abilities_of(expert: ExpertSettings) -> Abilities:
    """Of one expert; what is said nowhere is taken for granted elsewhere and not had here."""
    said, engine, model = expert.abilities, expert.engine, _model_config(expert)
    remote = expert.remote is not None
    context = said.context or engine.get("max_model_len") or model.get("max_position_embeddings")
    return Abilities(
        context=context if isinstance(context, int) else None,
        images=_first(said.images, "vision_config" in model, remote),
        audio=_first(said.audio, "audio_config" in model, False),
        tools=_first(said.tools, bool(engine.get("enable_auto_tool_choice")), remote),
        structured=said.structured,
        logprobs=said.logprobs,
        chat=not embeds(expert),
    )


def embeds(expert: ExpertSettings) -> bool:
    """Whether its engine makes vectors and generates nothing."""
    engine = expert.engine
    return engine.get("runner") in POOLING or engine.get("task") in POOLING


def _first(said: bool | None, found: bool, otherwise: bool) -> bool:
    return said if said is not None else found or otherwise


def _model_config(expert: ExpertSettings) -> dict[str, Any]:
    """The model's config.json: local, or from the hub; empty where it cannot be had."""
    if expert.model is None:
        return {}
    place = weights.resolve(expert.model)
    if Path(place).is_dir():
        file = Path(place) / "config.json"
    else:
        from huggingface_hub import hf_hub_download

        try:
            file = Path(hf_hub_download(place, "config.json"))
        except Exception as error:
            logger.warning(f"{expert.id}: its context length is not known: {error}")
            return {}
    config: dict[str, Any] = json.loads(file.read_text())
    return {**config, **config.get("text_config", {})}
