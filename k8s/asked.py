"""Prints what an overlay asks its cluster for, as a row of the table in k8s/README.md.

kubectl kustomize k8s/overlays/cpu | .venv/bin/python -m k8s.asked cpu
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import yaml

Amounts = list[float]
"""Pods, CPUs, GiB of memory, GPUs."""


def row(name: str, documents: Iterable[dict[str, Any]]) -> str:
    """At the least, then with a second Ray cluster beside the first, then scaled out fully."""
    ray, most, other = [0.0] * 4, [0.0] * 4, [0.0] * 4
    for document in documents:
        spec = document.get("spec", {})
        if document["kind"] == "RayService":
            cluster = spec["rayClusterConfig"]
            beside = cluster["autoscalerOptions"]["resources"]["requests"]
            ray = _added(ray, _pod(cluster["headGroupSpec"]["template"], beside), 1)
            most = list(ray)
            for group in cluster["workerGroupSpecs"]:
                ray = _added(ray, _pod(group["template"]), group["minReplicas"])
                most = _added(most, _pod(group["template"]), group["maxReplicas"])
        elif "template" in spec:
            other = _added(other, _pod(spec["template"]), spec["replicas"])
    both = [2 * each for each in ray]
    cells = [_told(_added(each, other, 1)) for each in (ray, both, most)]
    return f"| {' | '.join([name, *cells])} |"


def _pod(template: dict[str, Any], beside: dict[str, str] | None = None) -> Amounts:
    asked = [each["resources"]["requests"] for each in template["spec"]["containers"]]
    asked += [beside] if beside else []
    return [
        1.0,
        sum(_cpus(each["cpu"]) for each in asked),
        sum(_gib(each["memory"]) for each in asked),
        sum(float(each.get("nvidia.com/gpu", 0)) for each in asked),
    ]


def _cpus(quantity: str) -> float:
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


def _gib(quantity: str) -> float:
    return float(quantity[:-2]) / {"Mi": 1024, "Gi": 1}[quantity[-2:]]


def _added(one: Amounts, other: Amounts, times: int) -> Amounts:
    return [a + times * b for a, b in zip(one, other, strict=True)]


def _told(amounts: Amounts) -> str:
    pods, cpus, memory, gpus = amounts
    return f"{pods:.0f} pods, {cpus:g} CPUs, {memory:g} GiB" + (f", {gpus:g} GPUs" if gpus else "")


if __name__ == "__main__":
    print(row(sys.argv[1], yaml.safe_load_all(sys.stdin)))
