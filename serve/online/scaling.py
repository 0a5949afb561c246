"""Where Ray Serve's autoscaler asks how many replicas a deployment is to have.

The policies are those of a deployment, not one of the whole application. What an ingress has sent
an expert and no engine has seen yet is known without it: the handles count a request from the
moment that it is dispatched, and tell the controller as often as a policy of the application could
hear of it. Such a policy must be named in every settings file (these come with serve.app:build),
and Ray 2.60 calls it not yet supported.

Ray's own delays are 0: what keeps replicas from flapping is in routing.scaling.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from math import isfinite
from typing import Any

from serve.config import Autoscaling, IngressScaling
from serve.routing.scaling import Demand, ScalingRule, desired

REPORT_S = 1.0
"""How often replicas and handles tell the controller; also how late a wake-up may begin."""

LOOK_BACK_S = 3.0
"""What they told is averaged over this; Ray samples it five times."""

_REPLICAS = "replicas"


class ExpertPolicy:
    """Replicas of one expert. Ray makes one a deployment, in its controller.

    Args:
        rule: the fields of a ScalingRule.
    """

    def __init__(self, **rule: Any) -> None:
        self._rule = ScalingRule(**rule)

    def __call__(self, context: Any) -> tuple[int, dict[str, float]]:
        """Ray's AutoscalingContext -> replicas, and what to remember."""
        rule = replace(
            self._rule,
            min_replicas=context.capacity_adjusted_min_replicas,
            max_replicas=context.capacity_adjusted_max_replicas,
        )
        # Ray keeps counters of its own beside ours, under names that begin with __.
        kept = {name: at for name, at in context.policy_state.items() if not name.startswith("__")}
        before = kept.pop(_REPLICAS, 0)
        if context.current_num_replicas and not before:
            kept = {}  # Ray wakes a deployment without asking: what was before its sleep is over
        replicas, memory = desired(self.demand(context), rule, kept, context.current_time)
        return replicas, memory | {_REPLICAS: context.current_num_replicas}

    def demand(self, context: Any) -> Demand:
        """What Ray's AutoscalingContext says of an expert."""
        running, waiting, tokens = (
            sum(_said(context, name).values()) for name in ("running", "waiting", "waiting_tokens")
        )
        use = _said(context, "kv_use")
        # What no engine has seen. Rounded: health checks are requests too, of a few milliseconds.
        routed = max(0, round(context.total_num_requests - running - waiting))
        lengths = [length for length in _said(context, "prompt_tokens").values() if length > 0]
        return Demand(
            replicas=context.current_num_replicas,
            target=context.target_num_replicas,
            running=running,
            waiting=waiting,
            routed=float(routed),
            # How long their prompts are only the engines know, and once they have seen them.
            waiting_tokens=tokens + routed * sum(lengths) / max(1, len(lengths)),
            kv_use=sum(use.values()) / max(1, len(use)),
            finished_per_s=sum(_said(context, "finished_per_s").values()),
        )


class IngressPolicy(ExpertPolicy):
    """Replicas of the ingress."""

    def demand(self, context: Any) -> Demand:
        """What Ray's AutoscalingContext says of the ingress; its replicas are all that counts."""
        return Demand(
            replicas=context.current_num_replicas,
            target=context.target_num_replicas,
            running=context.total_num_requests,
            decisions_per_s=sum(_said(context, "decisions_per_s").values()),
        )


def scaled(scaling: Autoscaling | IngressScaling, grace_s: float) -> dict[str, Any]:
    """Ray Serve's options of a deployment that scales.

    Args:
        scaling: of the settings.
        grace_s: that a replica which is to go may take for what it has under way.
    """
    bounds = {
        "min_replicas": scaling.min_replicas,
        "max_replicas": scaling.max_replicas,
        "target_ongoing_requests": scaling.target_ongoing_requests,
    }
    if scaling.min_replicas == scaling.max_replicas:
        return {"autoscaling_config": bounds}
    policy = IngressPolicy if isinstance(scaling, IngressScaling) else ExpertPolicy
    # Ray shows them as JSON, which has no infinity.
    rule = {name: value for name, value in asdict(scaling.rule()).items() if isfinite(value)}
    asks_us = {
        "upscale_delay_s": 0,
        "downscale_delay_s": 0,
        "metrics_interval_s": REPORT_S,
        "look_back_period_s": LOOK_BACK_S,
        "policy": {
            "policy_function": f"{__name__}:{policy.__name__}",
            "policy_kwargs": rule,
        },
    }
    # Serve ends a replica after 20 s by default, in the middle of an answer.
    return {"autoscaling_config": bounds | asks_us, "graceful_shutdown_timeout_s": grace_s}


class Rate:
    """How often something happens, between two looks."""

    def __init__(self) -> None:
        self._count, self._since = 0, time.monotonic()

    def happened(self, times: int = 1) -> None:
        """So many times more."""
        self._count += times

    def per_s(self) -> float:
        """Of the time since the last call."""
        now = time.monotonic()
        rate = self._count / max(now - self._since, 1e-3)
        self._count, self._since = 0, now
        return rate


def _said(context: Any, name: str) -> Mapping[Any, float]:
    """Replica -> what it said of this, averaged over LOOK_BACK_S."""
    said: Mapping[Any, float] = context.aggregated_metrics.get(name, {})
    return said
