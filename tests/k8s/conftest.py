"""The built manifests."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path

import pytest

from tests.k8s.kustomize import Document, build

ROOT = Path(__file__).parents[2]
OVERLAYS = ("cpu", "gpu")
FOLDERS = ("overlays/cpu", "overlays/gpu", "monitoring")


@pytest.fixture(params=OVERLAYS)
def overlay(request) -> str:
    return request.param


@cache
def built(overlay: str) -> list[Document]:
    return build(ROOT / "k8s/overlays" / overlay)


@pytest.fixture
def documents(overlay) -> list[Document]:
    return copy.deepcopy(built(overlay))


@pytest.fixture
def service(documents) -> Document:
    (found,) = [document for document in documents if document["kind"] == "RayService"]
    return found
