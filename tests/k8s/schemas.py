"""Manifests against published schemas, strictly: a field that a schema does not know is a problem.

KubeRay's come from its own CRDs, Kubernetes' from the package kubernetes-validate. A CRD's pod
templates are known to it without their rules, so each is also looked at as a Pod.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache
from importlib.abc import Traversable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from pydantic import ValidationError
from referencing import Registry, Resource

from tests.k8s.kustomize import Document
from tests.k8s.prometheus_operator import MODELS

KUBERAY = Path(os.environ.get("POINTSMAN_KUBERAY", "../shared/kuberay-1.7.0"))
VERSIONS = ("1.31.0", kubernetes_validate.latest_version())
"""Of Kubernetes: the oldest that k8s/README.md names, and the newest that the package knows."""


def problems(document: Document) -> Iterator[str]:
    """What is wrong with a manifest; nothing where it is in order."""
    group = document["apiVersion"].partition("/")[0]
    if group == "ray.io":
        yield from (wrong := list(_custom(document)))
        if not wrong:
            yield from pod_problems(document)
            yield from _metadata(document)
    elif group == "monitoring.coreos.com":
        yield from _of_the_prometheus_operator(document)
        yield from _metadata(document)
    else:
        yield from _built_in(document)


def pod_templates(document: Document) -> dict[str, Document]:
    """Name -> pod template of a RayService or of a built-in workload."""
    spec = document.get("spec", {})
    if document["kind"] == "RayService":
        cluster = spec["rayClusterConfig"]
        groups = {group["groupName"]: group["template"] for group in cluster["workerGroupSpecs"]}
        return {"head": cluster["headGroupSpec"]["template"], **groups}
    return {document["metadata"]["name"]: spec["template"]} if "template" in spec else {}


def _built_in(document: Document) -> Iterator[str]:
    for version in VERSIONS:
        validator = _built_in_validator(version, document["apiVersion"], document["kind"])
        for error in validator.iter_errors(document):
            path = ".".join(map(str, error.absolute_path))
            yield f"Kubernetes {version}: {path}: {error.message}"


@cache
def _built_in_validator(version: str, api_version: str, kind: str) -> Any:
    """As kubernetes_validate.validate makes it for every document anew, from the same files.

    Raises:
        FileNotFoundError: that Kubernetes has no such kind.
    """
    group, _, number = api_version.rpartition("/")
    stem = "-".join(filter(None, [kind.lower(), group.split(".")[0], number]))
    folder = files("kubernetes_validate") / f"kubernetes-json-schema/v{version}-local-strict"
    schema = json.loads((folder / f"{stem}.json").read_text())
    return jsonschema.Draft202012Validator(schema, registry=_definitions(folder))


@cache
def _definitions(folder: Traversable) -> Registry[Any]:
    definitions = Resource.from_contents(json.loads((folder / "_definitions.json").read_text()))
    return definitions @ Registry()


def _metadata(document: Document) -> Iterator[str]:
    """Of a custom resource, by the schema of a built-in one's."""
    yield from _built_in(
        {"apiVersion": "v1", "kind": "Secret", "metadata": document.get("metadata", {})}
    )


def pod_problems(document: Document) -> Iterator[str]:
    """What is wrong with its pod templates, each taken as a Pod; needs no CRD."""
    for name, template in pod_templates(document).items():
        for problem in _built_in({"apiVersion": "v1", "kind": "Pod", **template}):
            yield f"{name}: {problem}"


def _custom(document: Document) -> Iterator[str]:
    schema = _crd_schema(document["kind"], document["apiVersion"].partition("/")[2])
    for error in jsonschema.Draft7Validator(schema).iter_errors(_admitted(document, schema)):
        yield f"{'.'.join(map(str, error.absolute_path))}: {error.message}"


@cache
def _crd_schema(kind: str, version: str) -> Any:
    if not KUBERAY.is_dir():  # measurement data: never copied into the project
        pytest.skip(f"no CRDs of KubeRay at {KUBERAY}: POINTSMAN_KUBERAY")
    file = KUBERAY / f"ray.io_{kind.lower()}s.yaml"
    crd = yaml.load(file.read_text(), Loader=yaml.CSafeLoader)
    (found,) = [each for each in crd["spec"]["versions"] if each["name"] == version]
    return _closed(found["schema"]["openAPIV3Schema"])


def _closed(schema: Any) -> Any:
    """The schema with every object that lists its properties closed to others."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(item) for key, item in schema.items()}
    is_open = "additionalProperties" in schema or schema.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(schema.get("properties"), dict) and "type" in schema and not is_open:
        closed["additionalProperties"] = False
    return closed


def _admitted(value: Any, schema: Any) -> Any:
    """What the API server validates: without nulls, with the schema's defaults."""
    if isinstance(value, list):
        return [_admitted(item, schema.get("items", {})) for item in value]
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    present = {
        key: _admitted(item, properties.get(key, {}))
        for key, item in value.items()
        if item is not None
    }
    defaults = {key: each["default"] for key, each in properties.items() if "default" in each}
    return {**defaults, **present}


def _of_the_prometheus_operator(document: Document) -> Iterator[str]:
    try:
        MODELS[document["kind"]].model_validate(document)
    except ValidationError as error:
        for each in error.errors():
            yield f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
