"""What KubeRay 1.7.0's operator refuses although the CRD allows it.

Its rules are in ray-operator/controllers/ray/utils/validation.go; those of feature gates that are
off, of RayJobs and of suspended groups are left out, as k8s/ uses none of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.k8s.kustomize import Document

DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
DNS_1123 = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LONGEST_NAME = 47
UPGRADES = ("NewCluster", "NewClusterWithIncrementalUpgrade", "None")
RESOURCE_PARAMS = {"num-cpus", "num-gpus", "memory", "resources"}


def violations(service: Document) -> list[str]:
    """Of a RayService, one line each."""
    spec = service["spec"]
    cluster = spec["rayClusterConfig"]
    annotations = service["metadata"].get("annotations", {})
    return [
        *_names(service),
        *_upgrade(spec),
        *_groups(cluster),
        *_autoscaler(cluster),
        *_fault_tolerance(cluster, annotations),
        *_auth(cluster),
    ]


def _names(service: Document) -> Iterator[str]:
    name = service["metadata"]["name"]
    if not DNS_1035.fullmatch(name) or len(name) > LONGEST_NAME:
        yield f"name {name}: a DNS-1035 label of at most {LONGEST_NAME} characters"
    head = service["spec"]["rayClusterConfig"]["headGroupSpec"]
    if head.get("headService", {}).get("metadata", {}).get("name"):
        yield "headService: must have no name"


def _upgrade(spec: Document) -> Iterator[str]:
    if spec.get("rayClusterDeletionDelaySeconds", 0) < 0:
        yield "rayClusterDeletionDelaySeconds: negative"
    kind = spec.get("upgradeStrategy", {}).get("type", "NewCluster")
    if kind not in UPGRADES:
        yield f"upgradeStrategy.type {kind}: one of {UPGRADES}"
    if kind != "NewClusterWithIncrementalUpgrade":
        return
    if not spec["rayClusterConfig"].get("enableInTreeAutoscaling"):
        yield "an incremental upgrade needs the autoscaler"
    options = spec["upgradeStrategy"].get("clusterUpgradeOptions", {})
    surge = options.get("maxSurgePercent", 100)
    if not 0 <= options.get("stepSizePercent", -1) <= surge <= 100:
        yield "clusterUpgradeOptions: 0 <= stepSizePercent <= maxSurgePercent <= 100"
    if options.get("intervalSeconds", 0) <= 0 or not options.get("gatewayClassName"):
        yield "clusterUpgradeOptions: needs intervalSeconds > 0 and gatewayClassName"


def _groups(cluster: Document) -> Iterator[str]:
    scaled = cluster.get("enableInTreeAutoscaling")
    for name, group in _named(cluster):
        params = group.get("rayStartParams", {})
        if RESOURCE_PARAMS & set(params) and group.get("resources"):
            yield f"{name}: resources in rayStartParams and in the group"
        if "labels" in params:
            yield f"{name}: rayStartParams.labels; use the group's labels"
        containers = group["template"]["spec"].get("containers", [])
        if not containers:
            yield f"{name}: no container"
        for container in containers:
            if not DNS_1123.fullmatch(container["name"]):
                yield f"{name}: container {container['name']}: a DNS-1123 label"
    for group in cluster["workerGroupSpecs"]:
        name, low, high = group["groupName"], group.get("minReplicas"), group.get("maxReplicas")
        if not scaled and (low is None or high is None):
            yield f"{name}: needs minReplicas and maxReplicas without the autoscaler"
        if low is not None and high is not None and not 0 <= low <= high:
            yield f"{name}: 0 <= minReplicas <= maxReplicas"


def _autoscaler(cluster: Document) -> Iterator[str]:
    options = cluster.get("autoscalerOptions", {})
    is_v2 = cluster.get("enableInTreeAutoscaling") and options.get("version") == "v2"
    if options.get("idleTimeoutSeconds", 0) < 0:
        yield "autoscalerOptions.idleTimeoutSeconds: negative"
    for name, group in _named(cluster):
        if not is_v2 and (group.get("idleTimeoutSeconds") is not None or group.get("priority")):
            yield f"{name}: idleTimeoutSeconds and priority need autoscaler v2"
        if is_v2 and group["template"]["spec"].get("restartPolicy", "Never") != "Never":
            yield f"{name}: autoscaler v2 needs restartPolicy Never or none"
    variable = "RAY_enable_autoscaler_v2"
    if variable in _environment(cluster) and (options.get("version") or not is_v2):
        yield f"{variable} in the head's environment; use autoscalerOptions.version"
    if "KUBERAY_GEN_AUTOSCALER_START_CMD" in {each["name"] for each in options.get("env", [])}:
        yield "autoscalerOptions.env: KUBERAY_GEN_AUTOSCALER_START_CMD is the operator's"


def _fault_tolerance(cluster: Document, annotations: dict[str, str]) -> Iterator[str]:
    options = cluster.get("gcsFaultToleranceOptions")
    variables = _environment(cluster)
    params = cluster["headGroupSpec"].get("rayStartParams", {})
    if "redis-username" in params or "REDIS_USERNAME" in variables:
        yield "the Redis user belongs in gcsFaultToleranceOptions.redisUsername"
    if options is None:
        if "RAY_REDIS_ADDRESS" in variables:
            yield "RAY_REDIS_ADDRESS without gcsFaultToleranceOptions"
        return
    for name in ("RAY_REDIS_ADDRESS", "REDIS_PASSWORD"):
        if name in variables:
            yield f"{name} beside gcsFaultToleranceOptions"
    if "redis-password" in params:
        yield "rayStartParams.redis-password beside gcsFaultToleranceOptions"
    for name in ("ray.io/ft-enabled", "ray.io/external-storage-namespace"):
        if name in annotations:
            yield f"annotation {name} beside gcsFaultToleranceOptions"
    if options.get("backend", "redis") == "redis" and "storage" in options:
        yield "gcsFaultToleranceOptions.storage is for rocksdb"
    if options.get("backend") == "rocksdb":
        yield "gcsFaultToleranceOptions.backend rocksdb needs a feature gate that is off"


def _auth(cluster: Document) -> Iterator[str]:
    options = cluster.get("authOptions", {})
    if options.get("enableK8sTokenAuth"):
        yield "authOptions.enableK8sTokenAuth: not for a RayService"
    version = [int(part) for part in cluster.get("rayVersion", "0.0.0").split(".")]
    if options.get("mode") == "token" and version < [2, 52, 0]:
        yield "authOptions.mode token needs rayVersion 2.52.0"


def _named(cluster: Document) -> Iterator[tuple[str, Any]]:
    yield "head", cluster["headGroupSpec"]
    for group in cluster["workerGroupSpecs"]:
        yield group["groupName"], group


def _environment(cluster: Document) -> set[str]:
    containers = cluster["headGroupSpec"]["template"]["spec"].get("containers", [])
    return {each["name"] for each in containers[0].get("env", [])} if containers else set()
