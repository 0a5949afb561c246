"""What Grafana publishes about itself, and a fake Grafana that holds requests to it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dashboards.fake_grafana import FakeGrafana

ROOT = Path(__file__).parents[2]
PUBLISHED = Path(os.environ.get("POINTSMAN_GRAFANA", ROOT.parent / "shared/grafana"))


def published(name: str) -> dict[str, Any]:
    file = PUBLISHED / name
    if not file.exists():
        pytest.skip(f"no {name} of Grafana's in POINTSMAN_GRAFANA, or {PUBLISHED}")
    return json.loads(file.read_text())


@pytest.fixture(scope="session")
def schema() -> dict[str, Any]:
    return published("dashboard.schema.json")


@pytest.fixture(scope="session")
def openapi() -> dict[str, Any]:
    return published("openapi3.json")


@pytest.fixture
def grafana(openapi) -> Iterator[FakeGrafana]:
    with FakeGrafana(openapi) as server:
        yield server
