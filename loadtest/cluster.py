"""A Ray cluster of several nodes on this machine, whose nodes and GCS can be killed.

Ray's own cluster_utils starts them; each node has its own raylet and workers, all have one address.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
from ray._common.utils import reset_ray_address
from ray._private.node import Node
from ray.cluster_utils import Cluster

from serve.launch import prepare_environment


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Those of `serve run` and these, for processes that start in the block."""
    before = dict(os.environ)
    os.environ.update(variables)
    prepare_environment()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Nodes:
    """A head and its workers, until `stop`.

    Args:
        redis: HOST:PORT where the GCS keeps its state; none: in its memory.
        variables: environment of every node's processes.
        head: of Cluster.add_node: num_cpus and the like.
    """

    def __init__(self, redis: str | None, variables: dict[str, str], **head: Any) -> None:
        self._variables = {**variables, **({"RAY_REDIS_ADDRESS": redis} if redis else {})}
        with environment(**self._variables):
            self._cluster = Cluster(initialize_head=True, head_node_args=head)
        # It was written down for every Ray on this machine, and would outlive a run that is killed.
        reset_ray_address()

    @property
    def address(self) -> str:
        """For RAY_ADDRESS."""
        return str(self._cluster.address)

    @property
    def dashboard(self) -> str:
        """The base URL of Ray's REST API."""
        return f"http://{self._cluster.webui_url}"

    def add(self, **node: Any) -> Node:
        """Another worker node."""
        with environment(**self._variables):
            return self._cluster.add_node(**node)

    def processes(self, node: Node) -> list[psutil.Process]:
        """The raylet of a node and all below it: its workers, their engines."""
        (raylet,) = node.all_processes["raylet"]
        top = psutil.Process(raylet.process.pid)
        return [top, *top.children(recursive=True)]

    def kill(self, node: Node) -> None:
        """Power off: SIGKILL of everything on that node at once."""
        for process in self.processes(node):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._cluster.remove_node(node, allow_graceful=False)

    def kill_gcs(self) -> None:
        """SIGKILL of the head's GCS."""
        self._cluster.head_node.kill_gcs_server()

    def start_gcs(self) -> None:
        """The GCS again, on the same port, from what Redis holds."""
        with environment(**self._variables):
            self._cluster.head_node.start_gcs_server()

    def stop(self) -> None:
        """End every node."""
        self._cluster.shutdown()
