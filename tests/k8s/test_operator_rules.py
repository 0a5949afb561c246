"""The RayServices keep KubeRay's rules, and each rule can be broken."""

from __future__ import annotations

import pytest

from tests.k8s.operator_rules import violations

CLUSTER = ("spec", "rayClusterConfig")
HEAD = (*CLUSTER, "headGroupSpec")
GROUP = (*CLUSTER, "workerGroupSpecs", 0)
STEPS = {"stepSizePercent": 60, "maxSurgePercent": 50, "intervalSeconds": 10}
INCREMENTAL = {"type": "NewClusterWithIncrementalUpgrade", "clusterUpgradeOptions": STEPS}
REDIS_ENV = [{"name": "RAY_REDIS_ADDRESS", "value": "redis:6379"}]

BROKEN = [
    (("metadata", "name"), "Pointsman", "DNS-1035"),
    (("metadata", "name"), "p" * 48, "at most 47"),
    (("metadata", "annotations"), {"ray.io/ft-enabled": "true"}, "ft-enabled"),
    ((*HEAD, "headService"), {"metadata": {"name": "mine"}}, "headService"),
    (("spec", "rayClusterDeletionDelaySeconds"), -1, "negative"),
    (("spec", "upgradeStrategy", "type"), "Whatever", "Whatever"),
    (("spec", "upgradeStrategy"), INCREMENTAL, "stepSizePercent"),
    (("spec", "upgradeStrategy"), INCREMENTAL, "gatewayClassName"),
    ((*HEAD, "resources"), {"CPU": "1"}, "head: resources"),
    ((*HEAD, "rayStartParams", "labels"), "a=b", "labels"),
    ((*GROUP, "minReplicas"), 9, "minReplicas <= maxReplicas"),
    ((*GROUP, "template", "spec", "containers", 0, "name"), "BAD NAME", "BAD NAME"),
    ((*GROUP, "template", "spec", "containers"), [], "no container"),
    ((*GROUP, "template", "spec", "restartPolicy"), "Always", "restartPolicy"),
    ((*CLUSTER, "autoscalerOptions", "idleTimeoutSeconds"), -5, "negative"),
    ((*HEAD, "rayStartParams", "redis-password"), "x", "redis-password"),
    ((*HEAD, "rayStartParams", "redis-username"), "x", "redisUsername"),
    ((*HEAD, "template", "spec", "containers", 0, "env"), REDIS_ENV, "RAY_REDIS_ADDRESS"),
    ((*CLUSTER, "gcsFaultToleranceOptions", "backend"), "rocksdb", "feature gate"),
    ((*CLUSTER, "gcsFaultToleranceOptions", "storage"), {}, "for rocksdb"),
    ((*CLUSTER, "rayVersion"), "2.51.0", "2.52.0"),
    ((*CLUSTER, "authOptions", "enableK8sTokenAuth"), True, "not for a RayService"),
]


def changed(document, path, value):
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return document


def test_the_operator_takes_it(service):
    assert violations(service) == []


@pytest.mark.parametrize(("path", "value", "told"), BROKEN)
def test_a_broken_rule_is_told(service, path, value, told):
    assert any(told in line for line in violations(changed(service, path, value)))


def test_without_the_autoscaler_bounds_are_needed_and_its_options_are_not(service):
    cluster = service["spec"]["rayClusterConfig"]
    cluster["enableInTreeAutoscaling"] = False
    cluster["workerGroupSpecs"][0]["idleTimeoutSeconds"] = 60
    del cluster["workerGroupSpecs"][0]["maxReplicas"]
    told = " ".join(violations(service))
    assert "cpu: needs minReplicas" in told and "cpu: idleTimeoutSeconds" in told


def test_redis_without_its_options_is_told(service):
    cluster = service["spec"]["rayClusterConfig"]
    del cluster["gcsFaultToleranceOptions"]
    cluster["headGroupSpec"]["template"]["spec"]["containers"][0]["env"] = REDIS_ENV
    assert violations(service) == ["RAY_REDIS_ADDRESS without gcsFaultToleranceOptions"]
