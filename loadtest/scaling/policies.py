"""The policies that are compared, each from what Ray Serve's autoscaler knows to a target."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from ray.serve import autoscaling_policy
from ray.serve._private.common import DeploymentID
from ray.serve.config import AutoscalingConfig, AutoscalingContext

from serve.config import Autoscaling
from serve.routing.scaling import Demand, Memory, desired


class Seen(NamedTuple):
    """What is known of one expert when a decision is due.

    Attributes:
        now: seconds.
        demand: means over the last seconds, as the adapter in serve/online has them.
        ongoing: requests under way, mean over Ray Serve's look-back period.
    """

    now: float
    demand: Demand
    ongoing: float


class Policy(Protocol):
    """One expert's."""

    def __call__(self, seen: Seen) -> int:
        """Replicas to ask for."""


class Ours:
    """serve.routing.scaling with the settings of an expert."""

    def __init__(self, settings: Autoscaling) -> None:
        self._rule = settings.rule()
        self._memory: Memory = {}

    def __call__(self, seen: Seen) -> int:
        """Replicas to ask for."""
        replicas, self._memory = desired(seen.demand, self._rule, self._memory, seen.now)
        return replicas


class RayServe:
    """Ray Serve's own function, behind its own delays and bounds."""

    def __init__(self, **config: Any) -> None:
        self._config = AutoscalingConfig(**config)
        self._decide = autoscaling_policy._apply_autoscaling_config(
            autoscaling_policy.default_autoscaling_policy
        )
        self._state: dict[str, Any] = {}

    def __call__(self, seen: Seen) -> int:
        """Replicas to ask for."""
        config = self._config
        context = AutoscalingContext(
            deployment_id=_EXPERT,
            deployment_name=_EXPERT.name,
            app_name=_EXPERT.app_name,
            current_num_replicas=seen.demand.replicas,
            target_num_replicas=seen.demand.target,
            running_replicas=[],
            total_num_requests=seen.ongoing,
            total_queued_requests=None,
            aggregated_metrics=None,
            raw_metrics=None,
            capacity_adjusted_min_replicas=config.min_replicas,
            capacity_adjusted_max_replicas=config.max_replicas,
            policy_state=self._state,
            last_scale_up_time=None,
            last_scale_down_time=None,
            current_time=seen.now,
            config=config,
        )
        _Clock.now = seen.now
        replicas, self._state = self._decide(context)
        return min(max(replicas, config.min_replicas), config.max_replicas)


_EXPERT = DeploymentID(name="expert", app_name="simulation")


class _Clock:
    """In the place of the module `time`, which Ray's function asks for its delays."""

    now = 0.0

    @classmethod
    def time(cls) -> float:
        """Seconds, simulated."""
        return cls.now


autoscaling_policy.time = _Clock
