"""Every manifest is what Kubernetes and KubeRay take, and one misspelled field is not."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.k8s.conftest import FOLDERS, ROOT
from tests.k8s.kustomize import Document, build
from tests.k8s.schemas import pod_problems, problems

DOCUMENTS = [
    pytest.param(document, id=f"{folder}-{document['kind']}-{document['metadata']['name']}")
    for folder in FOLDERS
    for document in build(ROOT / "k8s" / folder)
]
FREE = {"labels", "matchLabels", "nodeSelector", "rayStartParams", "requests", "limits"}
FREE_THERE = {("spec", "selector"), (1, "resources")}
"""What holds names that a user chooses: a Service's selector, a worker group's resources."""


@pytest.mark.parametrize("document", DOCUMENTS)
def test_it_is_what_the_schemas_say(document):
    assert list(problems(document)) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_its_pods_are_pods(document):
    assert list(pod_problems(document)) == []


def fields(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every field whose name is not the user's own."""
    if isinstance(value, dict):
        free = path[-1:] and (path[-1] in FREE or path[-2:] in FREE_THERE)
        for key, item in value.items():
            if not free:
                yield (*path, key)
            yield from fields(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from fields(item, (*path, i))


def misspelled(document: Document, path: tuple[Any, ...]) -> Document:
    other = copy.deepcopy(document)
    place = other
    for step in path[:-1]:
        place = place[step]
    place[f"{path[-1]}s"] = place.pop(path[-1])
    return other


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_field_can_be_misspelled(document):
    # These choose the schema.
    chosen = {("apiVersion",), ("kind",)}
    accepted = [
        ".".join(map(str, path))
        for path in fields(document)
        if path not in chosen and not next(problems(misspelled(document, path)), None)
    ]
    assert accepted == []


@pytest.mark.parametrize(
    ("file", "field"),
    [
        ("base/rayservice.yaml", "excludeHeadPodFromServeSvc"),
        ("base/rayservice.yaml", "terminationGracePeriodSeconds"),
        ("base/disruption.yaml", "minAvailable"),
        ("base/network.yaml", "policyTypes"),
        ("overlays/gpu/workers-l40s.yaml", "automountServiceAccountToken"),
        ("overlays/gpu/weights.yaml", "accessModes"),
    ],
)
def test_a_misspelled_field_in_a_file_is_found(tmp_path, file, field):
    shutil.copytree(ROOT / "k8s", tmp_path / "k8s")
    changed = tmp_path / "k8s" / file
    text = changed.read_text()
    assert f"{field}:" in text
    changed.write_text(text.replace(f"{field}:", f"{field[:-1]}:"))
    found = [line for d in build(tmp_path / "k8s/overlays/gpu") for line in problems(d)]
    assert found and any(field[:-1] in line for line in found)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "upgradeStrategy"), "NewCluster"),
        (("spec", "rayClusterConfig", "workerGroupSpecs", 0, "minReplicas"), "two"),
        (("spec", "rayClusterConfig", "autoscalerOptions", "version"), "v3"),
        (("spec", "rayClusterConfig", "headGroupSpec", "template", "spec", "containers"), {}),
    ],
)
def test_a_wrong_value_is_found(service, path, value):
    place = service
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert list(problems(service))


def test_defaults_and_nulls_are_the_api_servers(service):
    group = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
    del group["minReplicas"], group["maxReplicas"]
    group["priority"] = None
    assert list(problems(service)) == []
