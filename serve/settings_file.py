"""A file in deployments/: Ray Serve's config format with our settings in it -> Settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from serve.config import RolloutSettings, Settings, describe, parse, parse_settings
from serve.errors import SettingsError

IMPORT_PATH = "serve.app:build"
INGRESS = "RouterIngress"
"""Name of the deployment that serves the router; its user_config is RolloutSettings."""


def read_config(file: Path) -> dict[str, Any]:
    """A Serve config file, valid for Ray.

    Raises:
        SettingsError: not readable, not YAML, or not what Ray Serve takes.
    """
    from ray.serve.schema import ServeDeploySchema

    try:
        config = yaml.safe_load(file.read_text())
        ServeDeploySchema.model_validate(config)
        _refuse_unknown_keys(config, str(file))
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(f"{file}: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise SettingsError(f"{file}: {describe(error, ServeDeploySchema)}") from None
    return dict(config)


def _refuse_unknown_keys(config: dict[str, Any], where: str) -> None:
    """Ray 2.60 takes any key and drops those it does not know."""
    from ray.serve.schema import (
        DeploymentSchema,
        HTTPOptionsSchema,
        ServeApplicationSchema,
        ServeDeploySchema,
    )

    sections: list[tuple[str, Any, type[BaseModel]]] = [("", config, ServeDeploySchema)]
    sections.append(("http_options.", config.get("http_options") or {}, HTTPOptionsSchema))
    for i, application in enumerate(config["applications"]):
        sections.append((f"applications.{i}.", application, ServeApplicationSchema))
        for j, deployment in enumerate(application.get("deployments") or []):
            where_it_is = f"applications.{i}.deployments.{j}."
            sections.append((where_it_is, deployment, DeploymentSchema))
        prefix = application.get("route_prefix", "/")
        if not (prefix is None or str(prefix).startswith("/")):
            key = f"applications.{i}.route_prefix"
            raise SettingsError(f"{where}: {key}: must start with /, got {prefix!r}")
    for name, section, schema in sections:
        for key in section:
            if key not in schema.model_fields:
                allowed = ", ".join(schema.model_fields)
                raise SettingsError(f"{where}: {name}{key}: unknown key; allowed here: {allowed}")


def settings_of(config: dict[str, Any], file: Path) -> Settings:
    """The settings of our application in a Serve config.

    Raises:
        SettingsError: they are not right, or no application is ours.
    """
    return parse_settings(application_of(config, str(file)).get("args"), str(file))


def application_of(config: dict[str, Any], where: str) -> dict[str, Any]:
    """Our application in a Serve config.

    Raises:
        SettingsError: there is none.
    """
    for application in config["applications"]:
        if application["import_path"] == IMPORT_PATH:
            return dict(application)
    raise SettingsError(f"{where}: applications: none has import_path {IMPORT_PATH}")


def rollout_of(config: dict[str, Any], where: str) -> RolloutSettings:
    """What the user_config of the ingress says; nothing where there is none.

    Raises:
        SettingsError: it is not right.
    """
    for deployment in application_of(config, where).get("deployments") or []:
        if deployment["name"] == INGRESS and deployment.get("user_config") is not None:
            return parse(RolloutSettings, deployment["user_config"], f"{where}: user_config")
    return RolloutSettings()


def check(config: dict[str, Any], file: Path) -> Settings:
    """The settings, with what they name checked: router artifacts, keys, Redis.

    Raises:
        SettingsError, ArtifactError, WeightsError: one line each.
    """
    from serve.keys import load
    from serve.online.router import check_router

    settings = settings_of(config, file)
    load(settings)
    if settings.access.redis is not None:
        from serve.online.redis_counters import checked_url

        checked_url(settings.access.redis)
    if settings.tracing is not None:
        from serve.online.tracing import require_exporter

        require_exporter()
    check_router(settings, rollout_of(config, str(file)))
    return settings
