"""What there is to run on: a running Ray cluster, or else this machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import ray

from serve.errors import SettingsError
from serve.online import ray_node
from serve.sizing.cluster import Cluster, Node

LOCAL = "local"
"""Ray's own word for: no cluster that runs already."""
_TYPE = "accelerator_type:"
_REACH_S = 5.0


def cluster_at(address: str | None) -> Cluster:
    """The cluster at an address.

    Args:
        address: HOST:PORT or ray://HOST:PORT of a Ray cluster; LOCAL: this machine, whatever runs
            on it; None: RAY_ADDRESS, or a cluster that runs here, or else this machine.

    Raises:
        SettingsError: nothing answers at the address, or nothing that can be asked.
    """
    named = address or os.environ.get("RAY_ADDRESS")
    if named == LOCAL:
        return this_machine()
    try:
        with _connected(named):
            return ray_cluster()
    except OSError as error:
        if named is None:
            return this_machine()
        raise SettingsError(f"{named}: no Ray cluster answers there ({error})") from None


def leave_dead_cluster() -> str | None:
    """Have Ray start a cluster of its own where the one that it would join is gone.

    `ray start` writes its address down for whatever comes next on the machine, and a cluster that
    was killed leaves it there: Ray would wait for it and give up.

    Returns:
        The address that nothing answers at; None: there is none, or RAY_ADDRESS names a cluster.
    """
    if os.environ.get("RAY_ADDRESS"):
        return None
    try:
        address = ray_node.running_cluster()
    except ConnectionError:
        return None
    try:
        _reach(address)
    except OSError:
        os.environ["RAY_ADDRESS"] = LOCAL
        return address
    return None


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    if ray.is_initialized():
        yield
        return
    address = address or ray_node.running_cluster()
    _reach(address)
    try:
        ray.init(address, log_to_driver=False, configure_logging=False)
    except (RuntimeError, ValueError) as error:
        raise SettingsError(f"{address}: {' '.join(str(error).split())}") from None
    try:
        yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Ray waits minutes for a cluster that is not there, such as one that was killed."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError(f"{address}: {error}") from None
    if host is not None and port is not None:
        socket.create_connection((host, port), timeout=_REACH_S).close()


def ray_cluster() -> Cluster:
    """The Ray cluster that this process is connected to."""
    nodes = tuple(
        _node(node["NodeManagerAddress"], node["Resources"])
        for node in ray.nodes()
        if node["Alive"]
    )
    free = ray.available_resources()
    return Cluster(
        f"the Ray cluster at {ray.get_runtime_context().gcs_address}",
        nodes,
        is_ray=True,
        free_cpus=free.get("CPU", 0.0),
        free_gpus=free.get("GPU", 0.0),
    )


def _node(name: str, has: Mapping[str, Any]) -> Node:
    kinds = [key.removeprefix(_TYPE) for key in has if key.startswith(_TYPE)]
    # What was free at Ray's start: it gives its tasks what the object store leaves.
    memory = int(has.get("memory", 0) + has.get("object_store_memory", 0))
    gpus = int(has.get("GPU", 0))
    kind = kinds[0] if kinds and gpus else None
    return Node(name, has.get("CPU", 0.0), memory, gpus, kind, resources=has)


def this_machine() -> Cluster:
    """Where `serve run` would start Ray."""
    has = ray_node.resources()
    found = _node("this machine", has)
    node = replace(found, memory_bytes=ray_node.memory_bytes(), gpu_bytes=_gpu_bytes(found.gpus))
    return Cluster(
        "this machine",
        (node,),
        is_ray=False,
        free_cpus=node.cpus,
        free_gpus=node.gpus,
        free_bytes=found.memory_bytes,
        store_bytes=has["object_store_memory"],
        shm_bytes=ray_node.shared_memory_bytes(),
    )


def _gpu_bytes(gpus: int) -> int | None:
    """Memory of the smallest GPU here, as far as torch sees them."""
    if not gpus:
        return None
    import torch

    seen = range(torch.cuda.device_count())
    return min((torch.cuda.get_device_properties(i).total_memory for i in seen), default=None)
