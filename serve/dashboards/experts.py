"""Dashboard: how loaded and how well each expert is."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from serve.dashboards.panels import (
    COUNT,
    PER_SECOND,
    REQUESTS,
    SHARE,
    THIRD,
    Query,
    Row,
    choice,
    dashboard,
    lines,
    number,
)
from serve.dashboards.promql import counted, per_second, summed

_EXPERT = 'expert=~"$expert"'
_MODEL = 'model_name=~"$expert"'
# Not $expert: Ray writes the "/" and "." of an expert's id otherwise in its deployment's name.
_OURS = 'deployment=~"LLMServer:.*|RouterIngress"'
_TOKENS = "ray_pointsman_usage_tokens_total"


def build() -> Dashboard:
    """The dashboard."""
    return dashboard(
        "experts",
        "How loaded each expert is, how many replicas it has, and what fails.",
        [choice("expert", "ray_pointsman_requests_total")],
        [_now(), _load(), _work(), _replicas(), _faults()],
    )


def _now() -> Row:
    return Row(
        "Now",
        [
            number(
                "Requests under way",
                "At each expert, of all ingress replicas.",
                COUNT,
                Query(summed("ray_pointsman_expert_queue_depth", "expert", _EXPERT), "{{expert}}"),
                width=THIRD,
            ),
            number(
                "Replicas healthy now",
                "Ray Serve's: replicas of each expert and of the ingress that run.",
                COUNT,
                Query(
                    summed("ray_serve_deployment_replica_healthy", "deployment", _OURS),
                    "{{deployment}}",
                ),
                width=THIRD,
            ),
            number(
                "Circuits open now",
                "Ingress replicas that send an expert nothing because it failed.",
                COUNT,
                Query(summed("ray_pointsman_circuit_open", "expert", _EXPERT), "{{expert}}"),
                width=THIRD,
            ),
        ],
    )


def _load() -> Row:
    return Row(
        "Load",
        [
            lines(
                "Queue depth",
                "Requests under way at each expert, of all ingress replicas; also of experts that "
                "run elsewhere.",
                COUNT,
                Query(summed("ray_pointsman_expert_queue_depth", "expert", _EXPERT), "{{expert}}"),
                width=THIRD,
            ),
            lines(
                "Running in vLLM",
                "Requests in vLLM's batches, of all replicas of an expert that runs here.",
                COUNT,
                Query(
                    summed("ray_vllm_num_requests_running", "model_name", _MODEL), "{{model_name}}"
                ),
                width=THIRD,
            ),
            lines(
                "Waiting in vLLM",
                "Requests that vLLM has taken and not begun.",
                COUNT,
                Query(
                    summed("ray_vllm_num_requests_waiting", "model_name", _MODEL), "{{model_name}}"
                ),
                width=THIRD,
            ),
        ],
    )


def _work() -> Row:
    highest = f"max by (model_name) (ray_vllm_kv_cache_usage_perc{{{_MODEL}}})"
    tokens = [
        lines(
            f"{direction.capitalize()} tokens",
            f"Tokens of {direction} by expert, counted when an answer ends.",
            PER_SECOND,
            Query(
                per_second(_TOKENS, "expert", f'{_EXPERT}, direction="{direction}"'),
                "{{expert}}",
            ),
            width=THIRD,
            stacked=True,
        )
        for direction in ("output", "input")
    ]
    return Row(
        "Work",
        [
            *tokens,
            lines(
                "KV cache",
                "Share of vLLM's KV cache in use, of each expert's fullest replica.",
                SHARE,
                Query(highest, "{{model_name}}"),
                width=THIRD,
                top=1,
            ),
        ],
    )


def _replicas() -> Row:
    return Row(
        "Replicas",
        [
            lines(
                "Replicas healthy",
                "Ray Serve's: replicas of each expert and of the ingress that run.",
                COUNT,
                Query(
                    summed("ray_serve_deployment_replica_healthy", "deployment", _OURS),
                    "{{deployment}}",
                ),
            ),
            lines(
                "Replicas asked for",
                "Ray Serve's: the number that it is to reach.",
                COUNT,
                Query(
                    f"max by (deployment) (ray_serve_autoscaling_target_replicas{{{_OURS}}})",
                    "{{deployment}}",
                ),
            ),
        ],
    )


def _faults() -> Row:
    return Row(
        "Failures",
        [
            lines(
                "Failures",
                "Requests that an expert failed.",
                REQUESTS,
                Query(
                    counted(
                        per_second("ray_pointsman_expert_failures_total", "expert", _EXPERT),
                        "expert",
                        _EXPERT,
                    ),
                    "{{expert}}",
                ),
                width=THIRD,
            ),
            lines(
                "Circuits open",
                "Ingress replicas that send an expert nothing because it failed.",
                COUNT,
                Query(summed("ray_pointsman_circuit_open", "expert", _EXPERT), "{{expert}}"),
                width=THIRD,
            ),
            lines(
                "Wake-ups",
                "Times that a request found an expert without a replica and woke it, in all.",
                COUNT,
                Query(
                    counted(
                        summed("ray_pointsman_wakeups_total", "expert", _EXPERT), "expert", _EXPERT
                    ),
                    "{{expert}}",
                ),
                width=THIRD,
            ),
        ],
    )
