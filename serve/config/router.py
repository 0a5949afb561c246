"""The router inside the ingress, and what a running application takes at once."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from serve.config.base import IngressScaling, Resources, Section
from serve.config.cascade import CascadeSettings
from serve.config.models import MINILM, ModelRef
from serve.routing.choice import Policy
from serve.routing.objective import Budget, CheapestWithin, LinearCost, Objective


class BatchSettings(Section):
    """How concurrent decisions share one forward pass of the encoder."""

    max_size: int = Field(default=32, ge=1, le=1024)
    wait_ms: float = Field(default=2.0, ge=0, le=1000)


class Preference(Section):
    """What a model name `auto:NAME` asks for."""

    tradeoff: float | None = Field(
        default=None, ge=0, le=1, description="0: quality alone, 1: cost alone; none: the objective"
    )
    fastest: bool = Field(
        default=False, description="the fastest expert within router.quality_loss of the best"
    )
    max_latency_s: float | None = Field(default=None, gt=0)


def _preferences() -> dict[str, Preference]:
    return {
        "quality": Preference(tradeoff=0),
        "balanced": Preference(tradeoff=0.5),
        "cheap": Preference(tradeoff=0.9),
        "fast": Preference(fastest=True),
    }


class RouterSettings(Section):
    """The router that answers model `auto`, inside the ingress."""

    encoder: ModelRef = Field(
        default=MINILM, description="sentence encoder; a BERT-like model with mean pooling"
    )
    artifact: str | None = Field(
        default=None,
        description="folder of the trained router; none: always the cheapest expert",
    )
    objective: Literal["linear_cost", "budget", "cheapest_within"] = Field(
        default="linear_cost", description="what a pick maximises: routing/objective.py"
    )
    lam: float = Field(
        default=0.0,
        ge=0,
        alias="lambda",
        description="linear_cost: quality that one US dollar is worth",
    )
    budget_usd: float = Field(
        default=0.0, ge=0, description="budget: US dollars that one answer may cost"
    )
    theta: float = Field(
        default=0.0, ge=0, le=1, description="cheapest_within: quality that may be given up"
    )
    mu: float = Field(
        default=0.0, ge=0, description="linear_cost: quality that one second is worth"
    )
    late_s: float | None = Field(
        default=None, gt=0, description="an answer expected to take longer is late; none: none is"
    )
    quality_loss: float = Field(
        default=0.05, ge=0, le=1, description="that may be given up where load makes the pick late"
    )
    switch_gain: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="quality that another expert must be better by within a conversation, beside "
        "what reading it anew costs",
    )
    private_tags: list[str] = Field(
        default_factory=list, description="a request with one of these tags never leaves"
    )
    preferences: dict[str, Preference] = Field(
        default_factory=_preferences, description="names after auto: and what they ask for"
    )
    cascade: CascadeSettings | None = Field(
        default=None, description="a cheap expert answers first; none: only the pick answers"
    )
    batch: BatchSettings = BatchSettings()
    replicas: IngressScaling = IngressScaling()
    cpus: float = Field(default=1.0, ge=0, description="CPU cores reserved for each replica")
    resources: Resources = Field(
        default_factory=dict,
        description="custom Ray resources that each replica takes: those of a pool of nodes",
    )

    def as_objective(self) -> Objective:
        """The objective that the settings name."""
        if self.objective == Budget.kind:
            return Budget(self.budget_usd)
        if self.objective == CheapestWithin.kind:
            return CheapestWithin(self.theta)
        return LinearCost(self.lam, self.mu)

    def as_policy(self) -> Policy:
        """What load and conversations may change of a pick."""
        return Policy(self.late_s, self.quality_loss, self.switch_gain)


class ChallengerSettings(Section):
    """An artifact beside the served one."""

    artifact: str = Field(description="folder of the trained router; same encoder, same experts")
    share: float = Field(
        default=0.0, ge=0, le=1, description="of the auto requests that it decides; 0: none"
    )


class RolloutSettings(Section):
    """`user_config` of the deployment RouterIngress: what a running application takes at once."""

    artifact: str | None = Field(
        default=None, description="takes the place of router.artifact; none: that one"
    )
    challenger: ChallengerSettings | None = None
