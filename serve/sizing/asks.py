"""What a settings file will ask of a cluster: pure, from the settings and their models.

CPUs and GPUs are what Ray is asked to reserve, bundle by bundle (serve/online/experts.py). Memory
is reserved by nobody: it is what the processes are expected to hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from serve.config import ExpertSettings, Settings
from serve.errors import SettingsError
from serve.sizing.models import Model

GIB = 2**30

ENGINE_BYTES = 3 * GIB
"""A vLLM replica's processes beside weights and KV cache; on a GPU, those of each worker."""
INGRESS_BYTES = 3 * GIB // 2
RAY_BYTES = 3 * GIB // 2
"""Ray's own processes, Serve's controller and HAProxy.

The three are rounded from deployments/local.yaml, which holds some 10 GB in all.
"""

VLLM_SHARE = 0.92
"""vLLM 0.29's gpu_memory_utilization where nothing is said; of the memory, on a CPU."""


@dataclass(frozen=True)
class Bundle:
    """What must be had on one node."""

    cpus: float
    gpus: int = 0
    accelerator_type: str | None = None


@dataclass(frozen=True)
class Amount:
    """A sum of what is asked.

    Attributes:
        cpus: cores.
        gpus: accelerator type -> how many.
        memory_bytes: of the hosts, as estimated.
        known_bytes: the part of it that is no estimate: weights on disk and sizes in the settings.
    """

    cpus: float = 0.0
    gpus: Mapping[str, int] = field(default_factory=dict)
    memory_bytes: int = 0
    known_bytes: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.cpus + other.cpus,
            dict(Counter(self.gpus) + Counter(other.gpus)),
            self.memory_bytes + other.memory_bytes,
            self.known_bytes + other.known_bytes,
        )


@dataclass(frozen=True)
class Ask:
    """One expert, the router, or Ray itself.

    Attributes:
        key: of the settings, such as experts[0].
        name: the expert's id.
        replicas: at least and at most; (0, 0) of what runs elsewhere.
        bundles: of one replica.
        model: None of what has none here.
        kv_bytes: KV cache of one replica; None: a share of the memory.
        kv_share: the share of the memory (of each GPU, or of the node) that an engine takes where
            kv_bytes is None; None of what is no engine.
        process_bytes: memory of one replica's processes, estimated.
        elsewhere: URL of what does not run here.
        resources: custom ones of Ray's, that each bundle of a replica takes beside.
    """

    key: str
    name: str
    replicas: tuple[int, int]
    bundles: tuple[Bundle, ...] = ()
    model: Model | None = None
    kv_bytes: int | None = None
    kv_share: float | None = None
    process_bytes: int = 0
    elsewhere: str | None = None
    resources: Mapping[str, float] = field(default_factory=dict)

    @property
    def accelerator_type(self) -> str | None:
        """Of its GPUs; None: it runs on CPUs."""
        return self.bundles[0].accelerator_type if self.bundles else None

    def amount(self, replicas: int) -> Amount:
        """What so many replicas ask for."""
        gpus: Counter[str] = Counter()
        for bundle in self.bundles:
            if bundle.accelerator_type is not None:
                gpus[bundle.accelerator_type] += bundle.gpus * replicas
        known = guessed = 0
        if self.accelerator_type is None and self.model is not None:
            known = self.model.known_bytes + (self.kv_bytes or 0)
            guessed = (self.model.bytes or 0) - self.model.known_bytes
        return Amount(
            sum(bundle.cpus for bundle in self.bundles) * replicas,
            dict(+gpus),
            (known + guessed + self.process_bytes) * replicas,
            known * replicas,
        )

    @property
    def least(self) -> Amount:
        """At min_replicas."""
        return self.amount(self.replicas[0])

    @property
    def most(self) -> Amount:
        """At max_replicas."""
        return self.amount(self.replicas[1])


def asks_of(settings: Settings, models: Mapping[str, Model]) -> list[Ask]:
    """A row for each expert in the settings' order, the router, and Ray itself.

    Args:
        settings: the application's.
        models: Ask.key -> where its model is, of every expert that runs here and the router.

    Raises:
        SettingsError: an engine argument that is counted with is no number.
    """
    rows = [_expert(f"experts[{i}]", e, models) for i, e in enumerate(settings.experts)]
    router = settings.router
    replicas = (router.replicas.min_replicas, router.replicas.max_replicas)
    ingress = Ask(
        "router",
        "router",
        replicas,
        (Bundle(router.cpus),),
        models["router"],
        process_bytes=INGRESS_BYTES,
        resources=router.resources,
    )
    return [*rows, ingress, Ask("ray", "Ray itself", (1, 1), process_bytes=RAY_BYTES)]


def _expert(key: str, expert: ExpertSettings, models: Mapping[str, Model]) -> Ask:
    if expert.model is None:
        return Ask(key, expert.id, (0, 0), elsewhere=expert.there.url)
    kv_bytes = _number(expert, "kv_cache_memory_bytes")
    workers = 1
    for name in ("tensor_parallel_size", "pipeline_parallel_size"):
        workers *= int(_number(expert, name) or 1)
    if expert.accelerator_type is None:
        bundles: tuple[Bundle, ...] = (Bundle(expert.cpus),)
        space = expert.env.get("VLLM_CPU_KVCACHE_SPACE", "")
        if space.isdigit():  # in GiB; vLLM lets it win
            kv_bytes = int(space) * GIB
    else:
        bundles = (Bundle(expert.cpus, 1, expert.accelerator_type),) * workers
    return Ask(
        key,
        expert.id,
        (expert.autoscaling.min_replicas, expert.autoscaling.max_replicas),
        bundles,
        models[key],
        None if kv_bytes is None else int(kv_bytes),
        _number(expert, "gpu_memory_utilization") or VLLM_SHARE,
        ENGINE_BYTES * len(bundles),
        resources=expert.resources,
    )


def _number(expert: ExpertSettings, name: str) -> float | None:
    value = expert.engine.get(name)
    if value is None or (isinstance(value, int | float) and value > 0):
        return value
    raise SettingsError(
        f"experts.{expert.id}.engine.{name}: must be a number above 0, got {value!r}"
    )


def totals(asks: Sequence[Ask]) -> tuple[Amount, Amount]:
    """What all ask for at min_replicas, and at max_replicas."""
    least = sum((ask.least for ask in asks), Amount())
    return least, sum((ask.most for ask in asks), Amount())


def variables(settings: Settings) -> list[tuple[str, str]]:
    """Environment variables that the settings name, each with its key."""
    named = [
        (expert.remote.api_key_env, f"experts[{i}].remote.api_key_env")
        for i, expert in enumerate(settings.experts)
        if expert.remote is not None and expert.remote.api_key_env is not None
    ]
    if settings.access.redis is not None:
        named.append((settings.access.redis, "access.redis"))
    if settings.tracing is not None and settings.tracing.headers_env is not None:
        named.append((settings.tracing.headers_env, "tracing.headers_env"))
    return named
