"""What no schema sees: labels that select, resources that suffice, times that fit each other."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from k8s.asked import row
from serve.settings_file import settings_of
from tests.k8s.conftest import OVERLAYS, ROOT
from tests.k8s.kustomize import Document, build
from tests.k8s.schemas import pod_templates

GIB = 2**30


@pytest.fixture
def cluster(service) -> Document:
    return service["spec"]["rayClusterConfig"]


@pytest.fixture
def settings(service, tmp_path):
    return settings_of(yaml.safe_load(service["spec"]["serveConfigV2"]), tmp_path)


@pytest.fixture
def pods(documents) -> dict[str, dict[str, str]]:
    """Name -> labels, with those that the operator adds."""
    labelled = {}
    for document in documents:
        for name, template in pod_templates(document).items():
            labelled[name] = dict(template["metadata"]["labels"])
            if document["kind"] == "RayService":
                kind = "head" if name == "head" else "worker"
                labelled[name] |= {"ray.io/node-type": kind, "ray.io/group": name}
    return labelled


def selected(selector: dict[str, Any], pods: dict[str, dict[str, str]]) -> set[str]:
    wanted = selector.get("matchLabels", selector).items()
    return {name for name, labels in pods.items() if wanted <= labels.items()}


def gib(quantity: str) -> float:
    units = {"Mi": 2**20, "Gi": GIB}
    return int(quantity[:-2]) * units[quantity[-2:]] / GIB


def container(template: Document) -> Document:
    return template["spec"]["containers"][0]


def workers(cluster: Document) -> dict[str, Document]:
    return {group["groupName"]: group for group in cluster["workerGroupSpecs"]}


def monitors() -> list[Document]:
    built = build(ROOT / "k8s/monitoring")
    return [document for document in built if document["kind"] == "PodMonitor"]


def test_every_selector_finds_pods(documents, pods):
    for document in documents:
        spec = document.get("spec", {})
        for name in ("selector", "podSelector"):
            if name in spec:
                assert selected(spec[name], pods), document["metadata"]["name"]
    for monitor in monitors():
        assert selected(monitor["spec"]["selector"], pods), monitor["metadata"]["name"]


def test_the_ports_that_are_scraped_are_there(cluster, pods):
    templates = {"head": cluster["headGroupSpec"]["template"]}
    templates |= {name: group["template"] for name, group in workers(cluster).items()}
    for monitor in monitors():
        for name in selected(monitor["spec"]["selector"], pods):
            there = {port["name"] for port in container(templates[name])["ports"]}
            assert {each["port"] for each in monitor["spec"]["podMetricsEndpoints"]} <= there


def test_every_worker_group_has_one_disruption_budget(documents, cluster, pods):
    """With two, an eviction fails; a group whose budget is its minimum can never be drained."""
    budgets = [each["spec"] for each in documents if each["kind"] == "PodDisruptionBudget"]
    for name, group in workers(cluster).items():
        (budget,) = [each for each in budgets if name in selected(each["selector"], pods)]
        assert 1 <= budget["minAvailable"] < group["minReplicas"]
    assert not any("head" in selected(budget["selector"], pods) for budget in budgets)
    # The cluster's name changes with every upgrade.
    assert not any("ray.io/cluster" in budget["selector"]["matchLabels"] for budget in budgets)


def test_traffic_is_denied_but_for_what_is_named(documents):
    policies = {
        each["metadata"]["name"]: each["spec"]
        for each in documents
        if each["kind"] == "NetworkPolicy"
    }
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    from_anywhere = {
        port["port"]
        for policy in policies.values()
        for rule in policy.get("ingress", [])
        if "from" not in rule
        for port in rule["ports"]
    }
    assert from_anywhere == {8000}


def test_volumes_and_their_mounts_belong_together(documents):
    for document in documents:
        for template in pod_templates(document).values():
            spec = template["spec"]
            there = {volume["name"] for volume in spec.get("volumes", [])}
            claims = document["spec"].get("volumeClaimTemplates", [])
            there |= {claim["metadata"]["name"] for claim in claims}
            mounted = {m["name"] for each in spec["containers"] for m in each["volumeMounts"]}
            assert mounted == there


def test_claims_that_are_mounted_are_made(documents, cluster):
    made = {
        each["metadata"]["name"] for each in documents if each["kind"] == "PersistentVolumeClaim"
    }
    named = {
        volume["persistentVolumeClaim"]["claimName"]
        for group in workers(cluster).values()
        for volume in group["template"]["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert named == made


def test_every_secret_that_is_named_is_made_by_hand_in_the_page(documents):
    page = (ROOT / "k8s/README.md").read_text()
    named = set()

    def look(value):
        if isinstance(value, dict):
            if "secretKeyRef" in value:
                named.add(value["secretKeyRef"]["name"])
            if "secretName" in value:
                named.add(value["secretName"])
            for item in value.values():
                look(item)
        elif isinstance(value, list):
            for item in value:
                look(item)

    look(documents)
    assert {"pointsman-keys", "pointsman-redis"} <= named
    for name in named:
        assert f"create secret generic {name}" in page


def test_ray_counts_what_kubernetes_gives(cluster):
    """Without num-cpus, KubeRay gives Ray the limits; the head runs no replicas."""
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
        resources = container(group["template"])["resources"]
        assert resources["requests"] == resources["limits"]
        assert float(resources["limits"]["cpu"]).is_integer()
        store = int(group["rayStartParams"]["object-store-memory"])
        (shared,) = [
            v for v in group["template"]["spec"]["volumes"] if v["name"] == "shared-memory"
        ]
        assert store < gib(shared["emptyDir"]["sizeLimit"]) * GIB


def asked(settings, bound: str) -> list[tuple[float, int]]:
    """CPUs and GPUs of every expert replica, those that need the most first."""
    each = []
    for expert in settings.experts:
        gpus = int(expert.engine.get("tensor_parallel_size", 1)) if expert.accelerator_type else 0
        replicas = getattr(expert.autoscaling, f"{bound}_replicas")
        each += [(expert.cpus * max(gpus, 1), gpus)] * replicas
    return sorted(each, reverse=True)


def offered(cluster, bound: str) -> list[list[float]]:
    """CPUs and GPUs of every worker."""
    each = []
    for group in cluster["workerGroupSpecs"]:
        limits = container(group["template"])["resources"]["limits"]
        room = [float(limits["cpu"]), int(limits.get("nvidia.com/gpu", 0))]
        each += [list(room) for _ in range(group[f"{bound}Replicas"])]
    return each


@pytest.mark.parametrize("bound", ["min", "max"])
def test_the_experts_and_the_ingress_fit_on_the_workers(settings, cluster, bound):
    workers = offered(cluster, bound)
    for cpus, gpus in asked(settings, bound):
        alike = (w for w in workers if (w[1] > 0) == (gpus > 0))
        place = next(w for w in alike if w[0] >= cpus and w[1] >= gpus)
        place[0] -= cpus
        place[1] -= gpus
    # One ingress replica a worker, and none beside a GPU.
    room = [w for w in workers if w[0] >= settings.router.cpus]
    assert len(room) >= getattr(settings.router.replicas, f"{bound}_replicas")


def test_the_ingress_cannot_take_a_gpu_worker(settings, cluster):
    """Its experts use up a GPU worker's CPUs."""
    for expert in settings.experts:
        for cpus, gpus in offered(cluster, "min"):
            assert not gpus or expert.cpus * gpus == cpus


def test_no_worker_of_the_demo_carries_two_engines():
    (service,) = [d for d in build(ROOT / "k8s/overlays/cpu") if d["kind"] == "RayService"]
    experts = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]["args"]["experts"]
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    cpus = float(container(group["template"])["resources"]["limits"]["cpu"])
    assert sum(expert["cpus"] for expert in experts) > cpus


def test_one_lost_worker_never_takes_the_last_ingress(service, settings):
    (application,) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
    (ingress,) = [d for d in application["deployments"] if d["name"] == "RouterIngress"]
    assert settings.router.replicas.min_replicas >= 2 and ingress["max_replicas_per_node"] == 1


def test_gpu_workers_are_known_to_the_autoscaler_by_their_type(settings, cluster):
    """It has to know before a worker runs, and it does not ask Kubernetes what GPU that is."""
    types = {each.accelerator_type for each in settings.experts} - {None}
    told = {
        name.removeprefix("accelerator_type:")
        for group in cluster["workerGroupSpecs"]
        for name in group.get("resources", {})
    }
    assert types == told


def test_what_is_under_way_ends_before_anything_is_killed(service, settings, cluster):
    longest = settings.limits.timeout_s
    assert service["spec"]["rayClusterDeletionDelaySeconds"] >= longest
    (application,) = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"]
    names = {"RouterIngress", *(f"LLMServer:{expert.id}" for expert in settings.experts)}
    assert {each["name"] for each in application["deployments"]} == names
    assert all(d["graceful_shutdown_timeout_s"] >= longest for d in application["deployments"])
    for group in cluster["workerGroupSpecs"]:
        spec = group["template"]["spec"]
        command = container(group["template"])["lifecycle"]["preStop"]["exec"]["command"]
        assert command[:2] == ["python", "/opt/pointsman/drain.py"]
        assert int(command[2]) >= longest
        assert spec["terminationGracePeriodSeconds"] >= int(command[2]) + 60


def test_ray_is_the_pinned_one(cluster, repository):
    pins = (repository / "constraints/cpu.txt").read_text().splitlines()
    assert f"ray=={cluster['rayVersion']}" in pins


def test_the_page_tells_what_is_asked_for():
    page = (ROOT / "k8s/README.md").read_text()
    kept = page.split("<!-- asked -->")[1].split("<!-- /asked -->")[0].strip().splitlines()[2:]
    assert kept == [row(name, build(ROOT / "k8s/overlays" / name)) for name in OVERLAYS]
