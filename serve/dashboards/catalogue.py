"""Our dashboards as the JSON that Grafana imports; they are built with the extra `dashboards`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from serve.dashboards import cost, experts, latency, routing

DASHBOARDS: Mapping[str, Callable[[], Dashboard]] = {
    "routing": routing.build,
    "latency": latency.build,
    "experts": experts.build,
    "cost": cost.build,
}


def built() -> dict[str, dict[str, Any]]:
    """Name -> JSON of every dashboard."""
    return {
        name: json.loads(json.dumps(build(), cls=JSONEncoder)) for name, build in DASHBOARDS.items()
    }
