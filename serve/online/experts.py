"""An expert of the settings -> a Ray Serve LLM deployment; the only file that builds engines."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from ray.serve.deployment import Application
from ray.serve.llm import LLMConfig, build_llm_deployment

from serve import weights
from serve.config import ExpertSettings, LimitSettings, ReplicaChoice
from serve.engine_arguments import require_known
from serve.hardware import cpu_dtype
from serve.online.scaling import scaled
from serve.online.serve_llm import NoDownload
from serve.online.server import ExpertServer

NAME_PREFIX = "LLMServer:"
"""Ray's own prefix of an expert's deployment, whatever our class is called."""


def llm_config(expert: ExpertSettings, grace_s: float = LimitSettings().timeout_s) -> LLMConfig:
    """Ray Serve LLM's own description of one expert.

    Args:
        expert: that runs here.
        grace_s: that a replica which is to go may take for what it has under way.

    Raises:
        SettingsError: vLLM knows no such engine argument.
        WeightsError: the model's bytes are missing or not the pinned ones.
    """
    engine = engine_kwargs(expert)
    source = weights.resolve(expert.here)
    callback = {"callback_config": {"callback_class": NoDownload}} if Path(source).is_dir() else {}
    return LLMConfig(
        model_loading_config={"model_id": expert.id, "model_source": source},
        engine_kwargs=engine,
        deployment_config={
            **scaled(expert.autoscaling, grace_s),
            **_replica_choice(expert.replica),
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
    require_known(expert, known)
    defaults = {"dtype": cpu_dtype()} if expert.accelerator_type is None else {}
    return {**defaults, **expert.engine}


def _hardware(expert: ExpertSettings) -> dict[str, Any]:
    if expert.accelerator_type is None:
        return {
            "accelerator_config": {"kind": "cpu"},
            "placement_group_config": {"bundles": [{"CPU": expert.cpus, **expert.resources}]},
        }
    return {
        "accelerator_type": expert.accelerator_type,
        "placement_group_config": {
            "bundle_per_worker": {"CPU": expert.cpus, "GPU": 1, **expert.resources}
        },
    }


_REQUEST_ROUTERS = {
    "session": "ray.serve.experimental.consistent_hash_router:ConsistentHashRouter",
    "prefix": "ray.serve.llm.request_router:PrefixCacheAffinityRouter",
}
"""Ray Serve's own; it chooses by load where none is named."""


def _replica_choice(choice: ReplicaChoice) -> dict[str, Any]:
    if choice.by == "load":
        return {}
    routing = {
        "request_router_class": _REQUEST_ROUTERS[choice.by],
        "request_router_kwargs": choice.arguments,
    }
    return {"request_router_config": routing}


def deployment(config: LLMConfig) -> Application:
    """The bound deployment, to be reached through its handle."""
    return build_llm_deployment(config, deployment_cls=ExpertServer, name_prefix=NAME_PREFIX)
