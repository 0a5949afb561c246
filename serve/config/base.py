"""What every section of the settings is: frozen, unknown keys refused, a line for each mistake."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serve.routing.scaling import ScalingRule

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Section(BaseModel):
    """One section; its fields are its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Resources = dict[str, Annotated[float, Field(gt=0)]]
"""Ray's custom resources, by name."""


class _Replicas(Section):
    """How many replicas there may be, and how soon more or fewer are asked for."""

    min_replicas: int = Field(default=1, ge=0)
    max_replicas: int = Field(default=1, ge=1)
    target_ongoing_requests: float = Field(
        default=32, gt=0, description="running and waiting, that a replica is meant to hold"
    )
    upscale_delay_s: float = Field(
        default=0.0, ge=0, description="for which more must be needed before it is asked for"
    )
    downscale_delay_s: float = Field(
        default=180.0, ge=0, description="in which none needed a replica before it goes"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError("min_replicas must not be above max_replicas")
        return self


class Autoscaling(_Replicas):
    """Replica bounds of one expert, and what a replica is meant to hold."""

    target_waiting_tokens: float = Field(
        default=131072, gt=0, description="prompt tokens that may wait for each replica"
    )
    target_kv_use: float = Field(
        default=0.85, gt=0, le=1, description="share of the KV cache that may be in use"
    )
    drain_s: float = Field(
        default=15.0, ge=0, description="in which what waits is to be worked off"
    )
    downscale_to_zero_delay_s: float = Field(
        default=900.0, ge=0, description="without a request, before the last replica goes"
    )
    wake_s: float = Field(
        default=180.0,
        gt=0,
        description="from no replica to one that answers, at most; expected until one was seen",
    )
    wake_requests: int = Field(
        default=64, ge=1, description="that may wait for that, of each ingress replica; more: 429"
    )

    def rule(self) -> ScalingRule:
        """What the policy needs to know."""
        return ScalingRule(**self.model_dump(exclude={"wake_s", "wake_requests"}))


class IngressScaling(_Replicas):
    """Replica bounds of the ingress; it never goes to zero, since it wakes the experts."""

    min_replicas: int = Field(default=1, ge=1)
    target_ongoing_requests: float = Field(default=256, gt=0)
    target_decisions_per_s: float = Field(
        default=50.0, gt=0, description="that a replica is meant to make"
    )

    def rule(self) -> ScalingRule:
        """What the policy needs to know."""
        return ScalingRule(**self.model_dump())
