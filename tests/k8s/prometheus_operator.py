"""The fields of the Prometheus operator's resources that k8s/ uses, and no others.

Its CRDs are in no package; what stands here was read from its API reference.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Relabeling(_Strict):
    sourceLabels: list[str]
    targetLabel: str


class _Endpoint(_Strict):
    port: str
    relabelings: list[_Relabeling] = []


class _Selector(_Strict):
    matchLabels: dict[str, str]


class _PodMonitorSpec(_Strict):
    jobLabel: str
    selector: _Selector
    podMetricsEndpoints: list[_Endpoint]


class PodMonitor(_Strict):
    """Which pods are scraped, on which of their ports."""

    apiVersion: Literal["monitoring.coreos.com/v1"]
    kind: Literal["PodMonitor"]
    metadata: dict[str, Any]
    spec: _PodMonitorSpec


class _Recording(_Strict):
    record: str
    expr: str


class _Severity(_Strict):
    severity: Literal["page", "ticket"]


class _Annotations(_Strict):
    summary: str
    description: str
    runbook: str


class _Alert(_Strict):
    alert: str
    expr: str
    wait: Annotated[str, Field(alias="for", pattern="^[0-9]+[smhd]$")] = "0s"
    labels: _Severity
    annotations: _Annotations


class _Group(_Strict):
    name: str
    rules: list[_Recording | _Alert]


class _PrometheusRuleSpec(_Strict):
    groups: list[_Group]


class PrometheusRule(_Strict):
    """Rules that a Prometheus evaluates."""

    apiVersion: Literal["monitoring.coreos.com/v1"]
    kind: Literal["PrometheusRule"]
    metadata: dict[str, Any]
    spec: _PrometheusRuleSpec


MODELS: dict[str, type[BaseModel]] = {"PodMonitor": PodMonitor, "PrometheusRule": PrometheusRule}
