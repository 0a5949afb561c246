"""Dashboard: where a request's time goes, stage by stage."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from serve.dashboards.panels import (
    COUNT,
    SECONDS,
    THIRD,
    Panel,
    Query,
    Row,
    choice,
    dashboard,
    lines,
    number,
)
from serve.dashboards.promql import mean, per_second, quantile

_EXPERT = 'expert=~"$expert"'
_DECISION = "ray_pointsman_decision_seconds"
_TOTAL = 'stage="total"'
_PARTS = 'stage!="total"'
_STAGES = (
    "Queue: the pass of others is awaited; batch_wait: others may join; tokenise, embed, predict, "
    "choose: as long as the pass took that the query was in."
)


def build() -> Dashboard:
    """The dashboard."""
    return dashboard(
        "latency",
        "Where a request's time goes: the decision stage by stage, then the expert's answer.",
        [choice("expert", "ray_pointsman_requests_total")],
        [_now(), _decision(), _tokens(), _answers()],
    )


def _now() -> Row:
    def p95(title: str, says: str, histogram: str, where: str = "") -> Panel:
        return number(title, says, SECONDS, Query(quantile(0.95, histogram, "", where), "p95"))

    return Row(
        "p95 now",
        [
            p95("Decision", "From the parsed request to the decision.", _DECISION, _TOTAL),
            p95(
                "Time to first token",
                "Of streamed answers: from dispatch to the first token.",
                "ray_pointsman_ttft_seconds",
                _EXPERT,
            ),
            p95(
                "Time per output token",
                "After the first token.",
                "ray_pointsman_time_per_output_token_seconds",
                _EXPERT,
            ),
            p95(
                "Whole answer",
                "From dispatch to the last byte.",
                "ray_pointsman_answer_seconds",
                _EXPERT,
            ),
        ],
    )


def _decision() -> Row:
    by_stage = [
        lines(
            f"Decision by stage, p{q * 100:g}",
            f"The time that {q:.0%} of the queries stay under, stage by stage. {_STAGES}",
            SECONDS,
            Query(quantile(q, _DECISION, "stage"), "{{stage}}"),
            width=THIRD,
        )
        for q in (0.5, 0.95)
    ]
    passes = per_second("ray_pointsman_encoder_passes_total")
    return Row(
        "Decision",
        [
            *by_stage,
            lines(
                "Decision by stage, mean",
                f"One upon another. {_STAGES} Means of Ray's histograms are as coarse as their "
                "buckets.",
                SECONDS,
                Query(mean(_DECISION, "stage", _PARTS), "{{stage}}"),
                width=THIRD,
                stacked=True,
            ),
            lines(
                "Batch size",
                "Queries that shared a forward pass of the encoder.",
                COUNT,
                Query(f"{per_second('ray_pointsman_decisions_total')} / {passes}", "mean"),
                Query(quantile(0.5, "ray_pointsman_batch_size"), "p50"),
                Query(quantile(0.95, "ray_pointsman_batch_size"), "p95"),
            ),
            lines(
                "Whole decision",
                "From the parsed request to the decision, queueing included.",
                SECONDS,
                Query(quantile(0.5, _DECISION, "", _TOTAL), "p50"),
                Query(quantile(0.95, _DECISION, "", _TOTAL), "p95"),
                Query(quantile(0.99, _DECISION, "", _TOTAL), "p99"),
            ),
        ],
    )


def _tokens() -> Row:
    def by_expert(title: str, says: str, histogram: str) -> Panel:
        p50, p95 = (quantile(q, histogram, "expert", _EXPERT) for q in (0.5, 0.95))
        queries = Query(p50, "{{expert}} p50"), Query(p95, "{{expert}} p95")
        return lines(title, says, SECONDS, *queries)

    return Row(
        "Tokens",
        [
            by_expert(
                "Time to first token by expert",
                "Of streamed answers: from dispatch to the first token.",
                "ray_pointsman_ttft_seconds",
            ),
            by_expert(
                "Time per output token by expert",
                "From the first token to the end, over the output tokens after the first.",
                "ray_pointsman_time_per_output_token_seconds",
            ),
        ],
    )


def _answers() -> Row:
    return Row(
        "Whole answer",
        [
            lines(
                f"Whole answer by expert, p{q * 100:g}",
                f"From dispatch to the last byte: the time that {q:.0%} of the answers stay under.",
                SECONDS,
                Query(quantile(q, "ray_pointsman_answer_seconds", "expert", _EXPERT), "{{expert}}"),
                width=THIRD,
            )
            for q in (0.5, 0.95, 0.99)
        ],
    )
