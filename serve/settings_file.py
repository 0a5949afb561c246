"""A file in deployments/: Ray Serve's config format with our settings in it -> Settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from serve.config import Settings, describe, parse_settings
from serve.errors import SettingsError

IMPORT_PATH = "serve.app:build"


def read_config(file: Path) -> dict[str, Any]:
    """A Serve config file, valid for Ray.

    Raises:
        SettingsError: not readable, not YAML, or not what Ray Serve takes.
    """
    from ray.serve.schema import ServeDeploySchema

    try:
        config = yaml.safe_load(file.read_text())
        ServeDeploySchema.model_validate(config)
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(f"{file}: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise SettingsError(f"{file}: {describe(error, ServeDeploySchema)}") from None
    return dict(config)


def settings_of(config: dict[str, Any], file: Path) -> Settings:
    """The settings of our application in a Serve config.

    Raises:
        SettingsError: they are not right, or no application is ours.
    """
    for application in config["applications"]:
        if application["import_path"] == IMPORT_PATH:
            return parse_settings(application.get("args"), str(file))
    raise SettingsError(f"{file}: applications: none has import_path {IMPORT_PATH}")


def check(config: dict[str, Any], file: Path) -> Settings:
    """The settings, with the router artifact they name checked against the pool and the encoder.

    Raises:
        SettingsError, ArtifactError, WeightsError: one line each.
    """
    from serve.online.router import check_router

    settings = settings_of(config, file)
    check_router(settings)
    return settings
