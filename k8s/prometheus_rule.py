"""Writes the rules of deployments/prometheus as the Prometheus operator's PrometheusRule.

    make manifests

The result is rules.yaml of k8s/monitoring.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
SOURCES = ("deployments/prometheus/recording.yaml", "deployments/prometheus/alerts.yaml")
TARGET = ROOT / "k8s/monitoring/rules.yaml"


class _Dumper(yaml.SafeDumper):
    """Keeps the lines of a text that has several."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def resource() -> dict[str, Any]:
    """The PrometheusRule: every group of both files, in their order."""
    files = [yaml.safe_load((ROOT / source).read_text()) for source in SOURCES]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "pointsman", "labels": {"release": "prometheus"}},
        "spec": {"groups": [group for file in files for group in file["groups"]]},
    }


def text() -> str:
    """What rules.yaml holds."""
    head = f"# From {' and '.join(SOURCES)}: `make manifests` writes this file.\n"
    return head + yaml.dump(resource(), Dumper=_Dumper, sort_keys=False, width=100)


def main() -> None:
    """Write it."""
    TARGET.write_text(text())


if __name__ == "__main__":
    main()
