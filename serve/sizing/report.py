"""What a settings file asks and what is there, for a person and for a machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from serve.sizing.asks import Amount, Ask, totals
from serve.sizing.cluster import Cluster
from serve.sizing.models import Model
from serve.sizing.shortfalls import Finding, counted, gib

_HEAD = ("", "replicas", "CPUs", "GPUs", "memory", "KV cache", "weights", "model")
_PLACES = {
    "package": "in its package",
    "directory": "a directory",
    "cache": "in the cache",
    "missing": "MISSING",
}


@dataclass(frozen=True)
class Report:
    """All that `pointsman check` found.

    Attributes:
        file: the settings file.
        asks: a row each.
        cluster: what they were compared with.
        surroundings: what else it needs and how that is: ports, environment variables.
        findings: what is missing, and warnings.
    """

    file: str
    asks: Sequence[Ask]
    cluster: Cluster
    surroundings: Mapping[str, str]
    findings: Sequence[Finding]

    @property
    def missing(self) -> list[Finding]:
        """What the application cannot run without."""
        return [finding for finding in self.findings if finding.missing]

    def text(self) -> str:
        """One table, a line for each surrounding and finding, and a last line that sums up."""
        lines = [*self._table(), ""]
        lines += [f"{name}: {state}" for name, state in self.surroundings.items()]
        found = [str(finding) for finding in (*self.missing, *self._warnings())]
        lines += ["", *found] if found else []
        end = f"{len(self.missing)} missing in" if self.missing else "in order, for"
        return "\n".join([*lines, "", f"{self.file}: {end} {self.cluster.name}"])

    def json(self) -> str:
        """The same; sizes in bytes."""
        least, most = totals(self.asks)
        content = {
            "file": self.file,
            "asks": [
                {**asdict(ask), "at_least": asdict(ask.least), "at_most": asdict(ask.most)}
                for ask in self.asks
            ],
            "total": {"at_least": asdict(least), "at_most": asdict(most)},
            "cluster": asdict(self.cluster),
            "surroundings": dict(self.surroundings),
            "missing": [_as_dict(finding) for finding in self.missing],
            "warnings": [_as_dict(finding) for finding in self._warnings()],
        }
        return json.dumps(content, indent=2)

    def _warnings(self) -> list[Finding]:
        return [finding for finding in self.findings if not finding.missing]

    def _table(self) -> list[str]:
        rows = [_HEAD, *(_row(ask) for ask in self.asks)]
        writes = [ask.model for ask in self.asks if ask.model and ask.model.disk_bytes]
        written = f"~{gib(sum(model.disk_bytes for model in writes))} to write" if writes else ""
        free = f"{gib(writes[0].disk_free)} free" if writes and not self.cluster.is_ray else ""
        rows.append(("total", "", *_amounts(*totals(self.asks)), "", written, ""))
        rows.append(("here", "", *_here(self.cluster), "", free, _nodes(self.cluster)))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]


def _as_dict(finding: Finding) -> dict[str, str]:
    return {"key": finding.key, "text": finding.text}


def _row(ask: Ask) -> tuple[str, ...]:
    if ask.elsewhere is not None:
        return (ask.name, "", "", "", "", "", "", f"elsewhere: {ask.elsewhere}")
    low, high = ask.replicas
    return (
        ask.name,
        _span(str(low), str(high)),
        *_amounts(ask.least, ask.most),
        _kv_cache(ask),
        *(_weights(ask.model) if ask.model else ("", "")),
    )


def _amounts(least: Amount, most: Amount) -> tuple[str, str, str]:
    """CPUs, GPUs and memory at the bounds."""
    gpus = [
        _span(str(least.gpus.get(kind, 0)), str(n)) + f" {kind}" for kind, n in most.gpus.items()
    ]
    memory = _span(gib(least.memory_bytes).removesuffix(" GiB"), gib(most.memory_bytes))
    return _span(f"{least.cpus:g}", f"{most.cpus:g}"), ", ".join(gpus), f"~{memory}"


def _span(low: str, high: str) -> str:
    return high if low == high.removesuffix(" GiB") else f"{low}-{high}"


def _kv_cache(ask: Ask) -> str:
    if ask.kv_share is None:
        return ""
    if ask.kv_bytes is not None:
        return gib(ask.kv_bytes)
    return f"to {ask.kv_share:.0%} of {'GPU' if ask.accelerator_type else 'memory'}"


def _weights(model: Model) -> tuple[str, str]:
    size = "not known" if model.bytes is None else f"{'~' * model.estimated}{gib(model.bytes)}"
    return size, f"{model.name} ({_PLACES.get(model.place, model.place)})"


def _here(cluster: Cluster) -> tuple[str, str, str]:
    gpus = ", ".join(f"{number} {kind}" for kind, number in cluster.gpus.items())
    return f"{cluster.cpus:g}", gpus or "none", gib(cluster.memory_bytes)


def _nodes(cluster: Cluster) -> str:
    if not cluster.is_ray:
        return cluster.name
    return f"{cluster.name}, {counted(len(cluster.nodes), 'node')}"
