"""Kubernetes' Pod Security Standards, profile `restricted`, as far as they speak of these fields.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

VOLUMES = {
    "name",
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
PROFILES = ("RuntimeDefault", "Localhost")


def violations(spec: dict[str, Any]) -> list[str]:
    """Of a pod's spec, one line each."""
    containers = [*spec.get("initContainers", []), *spec["containers"]]
    return [*_pod(spec), *(line for each in containers for line in _container(each, spec))]


def _pod(spec: dict[str, Any]) -> Iterator[str]:
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield f"{name} is set"
    if spec.get("securityContext", {}).get("sysctls"):
        yield "sysctls are set"
    for volume in spec.get("volumes", []):
        if other := set(volume) - VOLUMES:
            yield f"volume {volume['name']}: {sorted(other)}"


def _container(container: dict[str, Any], spec: dict[str, Any]) -> Iterator[str]:
    own = container.get("securityContext", {})
    joined = {**spec.get("securityContext", {}), **own}
    name = container["name"]
    if own.get("privileged") or own.get("procMount", "Default") != "Default":
        yield f"{name}: privileged, or with another procMount"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation must be false"
    if joined.get("runAsNonRoot") is not True or joined.get("runAsUser") == 0:
        yield f"{name}: runAsNonRoot must be true, and runAsUser not 0"
    if joined.get("seccompProfile", {}).get("type") not in PROFILES:
        yield f"{name}: seccompProfile must be one of {PROFILES}"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield f"{name}: capabilities must drop ALL"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"{name}: capabilities may add NET_BIND_SERVICE alone"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield f"{name}: hostPort"
