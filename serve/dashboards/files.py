"""Dashboards in a folder: NAME.json each, as Grafana imports and exports them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serve.errors import SetupError


def write(dashboards: Mapping[str, dict[str, Any]], folder: Path) -> list[Path]:
    """A file for each, in a folder that is made where it is not there.

    Raises:
        SetupError: it cannot be written.
    """
    files = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, dashboard in dashboards.items():
            files.append(folder / f"{name}.json")
            files[-1].write_text(json.dumps(dashboard, indent=2) + "\n")
    except OSError as error:
        raise SetupError(f"{folder}: cannot be written: {error}") from error
    return files


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Name -> JSON of every dashboard in a folder.

    Raises:
        SetupError: there is none, or a file is not a dashboard with a uid and a title.
    """
    dashboards = {}
    for file in sorted(folder.glob("*.json")):
        try:
            dashboard = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            raise SetupError(f"{file}: {error}") from error
        if not (isinstance(dashboard, dict) and dashboard.get("uid") and dashboard.get("title")):
            raise SetupError(f"{file}: is no dashboard: it has no uid or no title")
        dashboards[file.stem] = dashboard
    if not dashboards:
        raise SetupError(
            f"{folder}: has no *.json; `pointsman dashboards write {folder}` puts ours"
        )
    return dashboards
