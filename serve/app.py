"""Builds the whole application: one deployment an expert, one ingress that is the router.

No `from __future__ import annotations` here: Ray reads build's annotation as it stands.
"""

from typing import Any

from ray import serve
from ray.serve.deployment import Application
from ray.serve.llm.ingress import make_fastapi_ingress

from serve.config import RolloutSettings, Settings, parse_settings
from serve.online.endpoints import ENDPOINTS
from serve.online.experts import deployment, llm_config
from serve.online.ingress import RouterIngress
from serve.online.router import check_router
from serve.online.scaling import scaled
from serve.online.surface import surface
from serve.settings_file import INGRESS


def build(args: dict[str, Any]) -> Application:
    """`args` of an application in deployments/ -> the Serve application.

    Raises:
        SetupError: the settings, the router artifact or a model's bytes are not right; raised
            before any model is loaded.
    """
    return assembled(parse_settings(args, "args"), RouterIngress)


def assembled(settings: Settings, ingress_class: type[RouterIngress]) -> Application:
    """The application of these settings; a load test may bring an ingress of its own.

    Raises:
        SetupError: see build.
    """
    check_router(settings, RolloutSettings())
    local = [expert for expert in settings.experts if expert.model is not None]
    configs = {expert.id: llm_config(expert, settings.limits.timeout_s) for expert in local}
    ingress = make_fastapi_ingress(
        ingress_class, endpoint_map=ENDPOINTS, app=surface(settings.limits.body_bytes)
    )
    return serve.deployment(
        ingress,
        name=INGRESS,
        max_ongoing_requests=4096,
        **scaled(settings.router.replicas, settings.limits.timeout_s),
        ray_actor_options={
            "num_cpus": settings.router.cpus,
            "resources": settings.router.resources,
        },
    ).bind(
        handles={name: deployment(config) for name, config in configs.items()},
        settings=settings,
    )
