"""Every pod passes the profile that its namespace enforces."""

from __future__ import annotations

import copy

import pytest

from tests.k8s.pod_security import violations
from tests.k8s.schemas import pod_templates


def specs(documents):
    return [t["spec"] for document in documents for t in pod_templates(document).values()]


def test_every_pod_passes(documents):
    assert specs(documents)
    assert [line for spec in specs(documents) for line in violations(spec)] == []


def test_the_autoscaler_passes_as_the_operator_adds_it(service):
    """Beside the head, with the security context of autoscalerOptions."""
    cluster = service["spec"]["rayClusterConfig"]
    spec = cluster["headGroupSpec"]["template"]["spec"]
    context = cluster["autoscalerOptions"]["securityContext"]
    spec["containers"].append({"name": "autoscaler", "securityContext": context})
    assert violations(spec) == []


def test_every_container_has_a_read_only_root_and_somewhere_to_write(documents):
    for spec in specs(documents):
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        for container in spec["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            paths = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
            if "ray" in container["name"]:
                assert "emptyDir" in volumes[paths["/tmp"]["name"]]
                assert volumes[paths["/dev/shm"]["name"]]["emptyDir"]["medium"] == "Memory"


def test_the_namespace_enforces_it(documents):
    (namespace,) = [each for each in documents if each["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("hostNetwork",), True, "hostNetwork"),
        (("securityContext", "runAsNonRoot"), False, "runAsNonRoot"),
        (("securityContext", "runAsUser"), 0, "runAsUser"),
        (("securityContext", "seccompProfile"), {"type": "Unconfined"}, "seccompProfile"),
        (("securityContext", "sysctls"), [{"name": "a", "value": "b"}], "sysctls"),
        (("volumes", 0), {"name": "v", "hostPath": {"path": "/"}}, "hostPath"),
        (("containers", 0, "securityContext", "privileged"), True, "privileged"),
        (("containers", 0, "securityContext", "allowPrivilegeEscalation"), True, "Escalation"),
        (("containers", 0, "securityContext", "capabilities"), {"drop": []}, "drop ALL"),
        (
            ("containers", 0, "securityContext", "capabilities"),
            {"drop": ["ALL"], "add": ["SYS_PTRACE"]},
            "NET_BIND_SERVICE",
        ),
        (("containers", 0, "ports", 0), {"containerPort": 1, "hostPort": 1}, "hostPort"),
    ],
)
def test_each_rule_can_be_broken(service, path, value, told):
    spec = copy.deepcopy(pod_templates(service)["cpu"]["spec"])
    place = spec
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert any(told in line for line in violations(spec))
