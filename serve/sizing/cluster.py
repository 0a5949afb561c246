"""A cluster as far as placing on it goes, and the placing: what Ray's scheduler would find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from serve.sizing.asks import Bundle

_UNIT = 10_000
"""Ray counts resources in ten-thousandths."""


@dataclass(frozen=True)
class Node:
    """One machine; its memory in bytes.

    Attributes:
        name: its address.
        cpus: cores that Ray may reserve.
        memory_bytes: of the host.
        gpus: all of one type, as Ray has it.
        accelerator_type: Ray's name of them.
        gpu_bytes: memory of one; None: not known.
        resources: all that Ray counts on it, custom ones among them.
    """

    name: str
    cpus: float
    memory_bytes: int
    gpus: int = 0
    accelerator_type: str | None = None
    gpu_bytes: int | None = None
    resources: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Cluster:
    """What is there.

    Attributes:
        name: "this machine", or a Ray cluster and its address.
        nodes: of it.
        is_ray: whether it is a running Ray cluster; else this machine, where one would start.
        free_cpus: that nothing has reserved now.
        free_gpus: likewise.
        free_bytes: memory that is free now; None: not known.
        store_bytes: that Ray's object store would take of it; None: not known.
        shm_bytes: free in /dev/shm; None: not known.
    """

    name: str
    nodes: tuple[Node, ...]
    is_ray: bool
    free_cpus: float
    free_gpus: float
    free_bytes: int | None = None
    store_bytes: int | None = None
    shm_bytes: int | None = None

    @property
    def cpus(self) -> float:
        """Of all nodes."""
        return sum(node.cpus for node in self.nodes)

    @property
    def memory_bytes(self) -> int:
        """Of all nodes."""
        return sum(node.memory_bytes for node in self.nodes)

    @property
    def gpus(self) -> dict[str, int]:
        """Accelerator type -> how many."""
        counts: dict[str, int] = {}
        for node in self.nodes:
            if node.gpus:
                kind = node.accelerator_type or "GPU"
                counts[kind] = counts.get(kind, 0) + node.gpus
        return counts


class Room:
    """What is left of the nodes while replicas are placed on them, best fit.

    What it places, Ray can place. What it cannot, Ray places only by luck: finding the fullest
    packing is NP-hard, and Ray does not look for it.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes
        self._cpus = [round(node.cpus * _UNIT) for node in nodes]
        self._gpus = [node.gpus for node in nodes]

    def take(self, bundles: Sequence[Bundle]) -> bool:
        """Place a replica, all of it or nothing; whether it could be."""
        before = self._cpus[:], self._gpus[:]
        for bundle in bundles:
            if not self._place(bundle):
                self._cpus, self._gpus = before
                return False
        return True

    def copy(self) -> Room:
        """Another that is as full."""
        other = Room(self._nodes)
        other._cpus, other._gpus = self._cpus[:], self._gpus[:]
        return other

    def cpus_left(self) -> float:
        """Of all nodes."""
        return sum(self._cpus) / _UNIT

    def gpus_left(self, accelerator_type: str) -> int:
        """Of that type."""
        return sum(
            left
            for left, node in zip(self._gpus, self._nodes, strict=True)
            if node.accelerator_type == accelerator_type
        )

    def _place(self, bundle: Bundle) -> bool:
        cpus = round(bundle.cpus * _UNIT)
        fit = [
            i
            for i, node in enumerate(self._nodes)
            if self._cpus[i] >= cpus
            and self._gpus[i] >= bundle.gpus
            and (not bundle.gpus or node.accelerator_type == bundle.accelerator_type)
        ]
        if not fit:
            return False
        # As Ray does, what needs no GPU goes where there is none, if it can.
        best = min(fit, key=lambda i: (self._gpus[i], self._cpus[i]))
        self._cpus[best] -= cpus
        self._gpus[best] -= bundle.gpus
        return True
