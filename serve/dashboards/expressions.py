"""What a dashboard asks Prometheus: for tests that ask the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_METRIC = re.compile(r"\bray_\w+")
_OF_HISTOGRAMS = re.compile(r"_(bucket|sum|count)$")


def expressions(dashboard: dict[str, Any], window: str = "1m") -> list[tuple[str, str]]:
    """Every expression of a dashboard as Prometheus takes it.

    Args:
        dashboard: its JSON.
        window: what Grafana's own windows ($__rate_interval, $__range) become.

    Returns:
        Title of the panel and PromQL, of a panel with several queries as often; every variable
        stands for all of its values.
    """
    found = []
    for panel in _panels(dashboard):
        for target in panel.get("targets", []):
            expr = re.sub(r"\$__\w+", window, target["expr"])
            found.append((panel["title"], re.sub(r"\$\w+", ".*", expr)))
    return found


def metrics_of(expr: str) -> set[str]:
    """The metrics in an expression, without what a histogram's series have behind its name."""
    return {_OF_HISTOGRAMS.sub("", name) for name in _METRIC.findall(expr)}


def _panels(parent: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A collapsed row holds its panels itself."""
    for panel in parent.get("panels") or []:
        yield panel
        yield from _panels(panel)
