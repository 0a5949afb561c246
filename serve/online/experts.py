"""An expert of the settings -> a Ray Serve LLM deployment; the only file that builds engines."""

from __future__ import annotations

from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ray.serve.deployment import Application
from ray.serve.llm import LLMConfig, build_llm_deployment

from serve import weights
from serve.config import ExpertSettings
from serve.errors import SettingsError
from serve.hardware import cpu_dtype
from serve.online.serve_llm import ModelCard, NoDownload


def llm_config(expert: ExpertSettings) -> LLMConfig:
    """Ray Serve LLM's own description of one expert.

    Raises:
        SettingsError: vLLM knows no such engine argument.
        WeightsError: the model's bytes are missing or not the pinned ones.
    """
    engine = engine_kwargs(expert)
    source = weights.resolve(expert.model)
    callback = {"callback_config": {"callback_class": NoDownload}} if Path(source).is_dir() else {}
    return LLMConfig(
        model_loading_config={"model_id": expert.id, "model_source": source},
        engine_kwargs=engine,
        deployment_config={
            "autoscaling_config": expert.autoscaling.model_dump(),
            # Ray adds the replica's own CPUs to the engine's bundle; expert.cpus is the sum.
            "ray_actor_options": {"num_cpus": 0},
        },
        runtime_env={"env_vars": expert.env},
        # Ray Serve LLM holds chunks back 50 ms to batch them; a gateway must not.
        experimental_configs={"stream_batching_interval_ms": 0},
        **callback,
        **_hardware(expert),
    )


def engine_kwargs(expert: ExpertSettings) -> dict[str, Any]:
    """Its engine arguments, what this machine needs among them, before any engine is started.

    Raises:
        SettingsError: vLLM knows no such engine argument.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.entrypoints.launchers.cli_args import FrontendArgs

    known = {field.name for kind in (AsyncEngineArgs, FrontendArgs) for field in fields(kind)}
    for name in expert.engine:
        if name not in known:
            near = get_close_matches(name, known, n=3)
            hint = f"; near it: {', '.join(near)}" if near else ""
            raise SettingsError(f"experts.{expert.id}.engine.{name}: vLLM has no such{hint}")
    defaults = {"dtype": cpu_dtype()} if expert.accelerator_type is None else {}
    return {**defaults, **expert.engine}


def _hardware(expert: ExpertSettings) -> dict[str, Any]:
    if expert.accelerator_type is None:
        return {
            "accelerator_config": {"kind": "cpu"},
            "placement_group_config": {"bundles": [{"CPU": expert.cpus}]},
        }
    return {
        "accelerator_type": expert.accelerator_type,
        "placement_group_config": {"bundle_per_worker": {"CPU": expert.cpus, "GPU": 1}},
    }


def deployment(config: LLMConfig) -> Application:
    """The bound deployment, to be reached through its handle."""
    return build_llm_deployment(config)


def model_card(name: str) -> ModelCard:
    """What Ray Serve LLM keeps of a model it lists."""
    return ModelCard(id=name, object="model", owned_by="pointsman", permission=[], metadata={})
