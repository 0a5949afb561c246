"""What a cluster lacks of what is asked of it, each with the key of the settings to mend."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from serve.sizing.asks import GIB, Ask, totals
from serve.sizing.cluster import Cluster, Room

GPU_GB = {"T4": 16, "P100": 16, "L4": 24, "A10G": 24, "L40S": 48, "H100": 80, "H200": 141}
"""Gigabytes by the maker's data sheets, of types that come with one size of memory."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not there.

    Attributes:
        key: of the settings, or of the machine, to mend.
        text: what was asked and what is there.
        missing: whether the application cannot run at min_replicas; else a warning: it cannot
            grow to max_replicas, or an estimate says so.
    """

    key: str
    text: str
    missing: bool = True

    def __str__(self) -> str:
        return f"{'missing' if self.missing else 'warning'}: {self.key}: {self.text}"


def shortfalls(asks: Sequence[Ask], cluster: Cluster) -> list[Finding]:
    """Everything that is missing in a cluster, and what would be."""
    return [
        *_placement(asks, cluster),
        *_pools(asks, cluster),
        *_gpu_memory(asks, cluster),
        *_greed(asks, cluster),
        *_memory(asks, cluster),
        *_taken_now(asks, cluster),
        *_models(asks, cluster),
        *_shared_memory(cluster),
    ]


def _placement(asks: Sequence[Ask], cluster: Cluster) -> Iterator[Finding]:
    room, short = Room(cluster.nodes), set()
    # The largest first: what is small fits into what they leave.
    for ask in sorted(asks, key=_size, reverse=True):
        for _ in range(ask.replicas[0]):
            if ask.bundles and not room.take(ask.bundles):
                short.add(ask.key)
    for ask in asks:
        if ask.key in short:
            yield _no_place(ask, cluster, room)
        elif ask.bundles and (grown := _growth(ask, room)) < ask.replicas[1]:
            yield Finding(
                f"{ask.key}.{_scaling(ask)}.max_replicas",
                f"{ask.replicas[1]}, and there is room for {grown} beside the others' min_replicas",
                missing=False,
            )


def _pools(asks: Sequence[Ask], cluster: Cluster) -> Iterator[Finding]:
    """Custom resources, in all: which node they lie on is not looked at."""
    wanted: dict[str, float] = defaultdict(float)
    for ask in asks:
        for name, amount in ask.resources.items():
            wanted[name] += amount * len(ask.bundles) * ask.replicas[0]
            here = sum(node.resources.get(name, 0.0) for node in cluster.nodes)
            if wanted[name] > here:
                told = f"{name}: {wanted[name]:g} asked for, {here:g} here"
                yield Finding(f"{ask.key}.resources", told)


def _size(ask: Ask) -> tuple[int, float]:
    return sum(b.gpus for b in ask.bundles), max((b.cpus for b in ask.bundles), default=0.0)


def _growth(ask: Ask, room: Room) -> int:
    """Replicas of it alone that there is room for, no more than its max_replicas."""
    left, replicas = room.copy(), ask.replicas[0]
    while replicas < ask.replicas[1] and left.take(ask.bundles):
        replicas += 1
    return replicas


def _scaling(ask: Ask) -> str:
    return "replicas" if ask.key == "router" else "autoscaling"


def _no_place(ask: Ask, cluster: Cluster, room: Room) -> Finding:
    kind, asked = ask.accelerator_type, ask.least
    if kind is not None:
        here, wanted = cluster.gpus.get(kind, 0), asked.gpus[kind]
        if here < wanted or room.gpus_left(kind) < len(ask.bundles):
            beside = "" if here < wanted else f", {room.gpus_left(kind)} left beside the others"
            return Finding(
                f"{ask.key}.accelerator_type",
                f"{kind}: {counted(wanted, 'GPU')} of it asked for, {here} here{beside}",
            )
    cpus = max(bundle.cpus for bundle in ask.bundles)
    where = [node.cpus for node in cluster.nodes if kind in (None, node.accelerator_type)]
    if cpus > max(where, default=0):
        largest = max(where, default=0)
        return Finding(
            f"{ask.key}.cpus", f"{cpus:g} asked for on one node, the largest here has {largest:g}"
        )
    return Finding(
        f"{ask.key}.cpus",
        f"{asked.cpus:g} asked for ({_scaling(ask)}.min_replicas: {ask.replicas[0]}), "
        f"{room.cpus_left():g} of {cluster.cpus:g} left beside the others, on "
        f"{counted(len(cluster.nodes), 'node')}",
    )


def _gpu_memory(asks: Sequence[Ask], cluster: Cluster) -> Iterator[Finding]:
    for ask in asks:
        kind, model = ask.accelerator_type, ask.model
        if kind is None or model is None or not model.bytes:
            continue
        each, holds = model.bytes / len(ask.bundles), _gpu_bytes(kind, cluster)
        free = holds * (ask.kv_share or 1) if ask.kv_bytes is None else holds - ask.kv_bytes
        if holds and each >= free:
            yield Finding(
                f"{ask.key}.engine.tensor_parallel_size",
                f"{_about(model.estimated)}{gib(each)} of weights on each {kind}, "
                f"which has {gib(free)} for them and the KV cache",
                missing=not model.estimated,
            )


def _gpu_bytes(kind: str, cluster: Cluster) -> float:
    """Memory of a GPU; 0: not known."""
    seen = [n.gpu_bytes for n in cluster.nodes if n.accelerator_type == kind and n.gpu_bytes]
    return min(seen, default=GPU_GB.get(kind, 0) * 10**9)


def _greed(asks: Sequence[Ask], cluster: Cluster) -> Iterator[Finding]:
    """Engines on CPUs that take most of a node's memory, as vLLM's do where nothing is said."""
    greedy = [
        ask
        for ask in asks
        if ask.kv_share is not None
        and ask.kv_bytes is None
        and ask.accelerator_type is None
        and ask.replicas[0]
    ]
    replicas, nodes = sum(ask.replicas[0] for ask in greedy), len(cluster.nodes)
    for ask in greedy:
        key = f"{ask.key}.engine.kv_cache_memory_bytes"
        wanted = (ask.kv_share or 0) * cluster.memory_bytes
        each = f"not set, so each replica takes {ask.kv_share:.0%} of a node's memory"
        if replicas > nodes:
            text = f"{each}; of such replicas {replicas} are asked for on {counted(nodes, 'node')}"
            yield Finding(key, text)
        elif cluster.free_bytes is not None and wanted > cluster.free_bytes:
            text = f"{each}, {gib(wanted)}; {gib(cluster.free_bytes)} are free now"
            yield Finding(key, text, missing=False)


def _memory(asks: Sequence[Ask], cluster: Cluster) -> Iterator[Finding]:
    least, here = totals(asks)[0], cluster.memory_bytes
    largest = max(asks, key=lambda ask: ask.least.memory_bytes)
    kv = largest.kv_bytes is not None and largest.kv_bytes > (
        largest.model.bytes or 0 if largest.model else 0
    )
    key = f"{largest.key}.{'engine.kv_cache_memory_bytes' if kv else 'model'}"
    if least.known_bytes > here:
        text = (
            f"{gib(least.known_bytes)} of weights and KV cache asked for by all, {gib(here)} here"
        )
        yield Finding(key, text)
    elif least.memory_bytes > here:
        text = f"about {gib(least.memory_bytes)} of memory asked for by all, {gib(here)} here"
        yield Finding(key, text, missing=False)
    elif cluster.free_bytes is not None and least.memory_bytes > cluster.free_bytes:
        text = (
            f"about {gib(least.memory_bytes)} asked for by all, "
            f"{gib(cluster.free_bytes)} of {gib(here)} free now"
        )
        yield Finding("memory", text, missing=False)


def _taken_now(asks: Sequence[Ask], cluster: Cluster) -> Iterator[Finding]:
    least = totals(asks)[0]
    rows = (
        ("CPUs", least.cpus, cluster.free_cpus, cluster.cpus),
        ("GPUs", sum(least.gpus.values()), cluster.free_gpus, sum(cluster.gpus.values())),
    )
    for noun, asked, free, here in rows:
        if free < asked <= here:
            text = f"{free:g} of {here:g} {noun} free now, {asked:g} asked for"
            yield Finding(cluster.name, text, missing=False)


def _models(asks: Sequence[Ask], cluster: Cluster) -> Iterator[Finding]:
    """Models whose bytes are missing; where this machine gets the others, disk for them."""
    written: Counter[int] = Counter()
    for ask in asks:
        model = ask.model
        if model is None:
            continue
        key = f"{ask.key}.{'encoder' if ask.key == 'router' else 'model'}"
        if model.place == "missing":
            yield Finding(key, model.fault)
        written[model.disk] += model.disk_bytes
        if model.disk_bytes and not cluster.is_ray and written[model.disk] > model.disk_free:
            text = (
                f"about {gib(written[model.disk])} to write for it and those before it, "
                f"{gib(model.disk_free)} free on the disk of {model.folder}"
            )
            yield Finding(key, text, missing=False)


def _shared_memory(cluster: Cluster) -> Iterator[Finding]:
    """Ray puts its object store on the disk where /dev/shm is too small."""
    shm, store = cluster.shm_bytes, cluster.store_bytes
    if shm is not None and store is not None and store > shm:
        text = (
            f"{gib(shm)} free, Ray's object store is {gib(store)} and goes to the disk, which is "
            "slow (docker run --shm-size)"
        )
        yield Finding("/dev/shm", text, missing=False)


def counted(number: int, noun: str) -> str:
    """One node, two nodes."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def gib(number: float) -> str:
    """Bytes for a person."""
    return f"{number / GIB:.1f} GiB"


def _about(estimated: bool) -> str:
    return "about " if estimated else ""
