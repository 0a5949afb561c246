from __future__ import annotations

import pytest

from serve.sizing.asks import GIB
from serve.sizing.cluster import Cluster, Node


@pytest.fixture
def machine():
    """A cluster of the given nodes; where it is no Ray, with what a machine knows of itself."""

    def made(*nodes: Node, is_ray=False, **also):
        cpus, gpus = sum(n.cpus for n in nodes), sum(n.gpus for n in nodes)
        return Cluster(
            "a machine", nodes, is_ray, **({"free_cpus": cpus, "free_gpus": gpus} | also)
        )

    return made


@pytest.fixture
def node():
    """One node; memory in GiB."""

    def made(cpus=8.0, memory=64, gpus=0, kind=None, gpu_bytes=None, resources=()):
        return Node(
            "n", cpus, memory * GIB, gpus, kind if gpus else None, gpu_bytes, dict(resources)
        )

    return made
