"""Dashboard: whom the router picks, how good that is, and what it saves."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from serve.dashboards.panels import (
    COUNT,
    HALF,
    PER_SECOND,
    QUARTER,
    REQUESTS,
    SHARE,
    THIRD,
    USD,
    Query,
    Row,
    bars,
    choice,
    dashboard,
    lines,
    number,
)
from serve.dashboards.promql import counted, difference, grown, mean, per_second, share, summed

_EXPERT = 'expert=~"$expert"'
_ROUTED = 'chosen_by="router"'
_PREDICTED = "ray_pointsman_predicted_quality"
_MEASURED = "ray_pointsman_measured_quality"
_SAVED = "ray_pointsman_cost_saved_usd_total"
_LOST = "ray_pointsman_cost_lost_usd_total"


def build() -> Dashboard:
    """The dashboard."""
    return dashboard(
        "routing",
        "Whom the router picks, how good that is, what it saves, and when the guard decides.",
        [choice("expert", "ray_pointsman_requests_total")],
        [_now(), _picks(), _quality(), _savings(), _guard(), _faults()],
    )


def _now() -> Row:
    guarding = "max by (router) (ray_pointsman_guard_active)"
    guarded = share(
        grown("ray_pointsman_guarded_decisions_total"), grown("ray_pointsman_decisions_total")
    )
    saved = difference(grown(_SAVED, "against"), grown(_LOST, "against"))
    return Row(
        "Now",
        [
            number(
                "Guard",
                "Who decides at the settings' objective, by router: where the guard does at any "
                "ingress replica, the router steps aside for the best single expert.",
                COUNT,
                Query(guarding, "{{router}}"),
                words={0: "router decides", 1: "guard decides"},
            ),
            number(
                "Guarded decisions",
                "Share of the decisions in the time shown that the guard made.",
                SHARE,
                Query(guarded, "guarded"),
            ),
            number(
                "Unlike the training prompts",
                "Share of the last 500 routed requests that are unlike any training prompt; mean "
                "over the ingress replicas.",
                SHARE,
                Query("avg(ray_pointsman_ood_ratio)", "out of distribution"),
            ),
            number(
                "Net saving",
                "What the answers in the time shown cost less than that expert's would have for "
                "as many tokens; below zero: more.",
                USD,
                Query(saved, "against {{against}}"),
            ),
        ],
    )


def _picks() -> Row:
    routed = per_second("ray_pointsman_requests_total", "expert", f"{_EXPERT}, {_ROUTED}")
    return Row(
        "Picks",
        [
            lines(
                "Share of each expert",
                "Of the last 500 routed requests of each ingress replica; mean over the replicas.",
                SHARE,
                Query(f"avg by (expert) (ray_pointsman_expert_share{{{_EXPERT}}})", "{{expert}}"),
                width=THIRD,
                top=1,
                stacked=True,
            ),
            lines(
                "Routed requests",
                "Requests that the router dispatched, by the expert that got them.",
                REQUESTS,
                Query(routed, "{{expert}}"),
                width=THIRD,
                stacked=True,
            ),
            lines(
                "Requests by who chose",
                "Requests dispatched: the router chose (`model: auto`), or the client named the "
                "expert.",
                REQUESTS,
                Query(
                    per_second("ray_pointsman_requests_total", "chosen_by", _EXPERT),
                    "{{chosen_by}}",
                ),
                width=THIRD,
                stacked=True,
            ),
        ],
    )


def _quality() -> Row:
    coarse = "Means of Ray's histograms are as coarse as their buckets."
    return Row(
        "Quality",
        [
            bars(
                "Predicted and measured quality",
                "Means over the time shown. Predicted: of the picks of every routed request. "
                "Measured: of the requests that /v1/feedback scored, which may be others. "
                f"{coarse}",
                SHARE,
                Query(mean(_PREDICTED, "expert", _EXPERT, "$__range"), "{{expert}} predicted"),
                Query(mean(_MEASURED, "expert", _EXPERT, "$__range"), "{{expert}} measured"),
                width=HALF,
            ),
            lines(
                "Predicted and measured quality over time",
                f"The same, moment by moment; no line where nothing was scored. {coarse}",
                SHARE,
                Query(mean(_PREDICTED, "expert", _EXPERT), "{{expert}} predicted"),
                Query(mean(_MEASURED, "expert", _EXPERT), "{{expert}} measured"),
                top=1,
            ),
        ],
    )


def _savings() -> Row:
    hourly = f"3600 * ({difference(per_second(_SAVED, 'against'), per_second(_LOST, 'against'))})"
    return Row(
        "Savings",
        [
            lines(
                "Net saving per hour",
                "What the answers cost less than that expert's would have for as many tokens, as "
                "US dollars per hour; below zero: more.",
                USD,
                Query(hourly, "against {{against}}"),
            ),
            lines(
                "Net saving in all",
                "The same since the metrics began; they begin anew with their node.",
                USD,
                Query(
                    difference(summed(_SAVED, "against"), summed(_LOST, "against")),
                    "against {{against}}",
                ),
            ),
        ],
    )


def _guard() -> Row:
    guarded = share(
        per_second("ray_pointsman_guarded_decisions_total"),
        per_second("ray_pointsman_decisions_total"),
    )
    return Row(
        "Guard",
        [
            lines(
                "Decisions",
                "Queries decided, by the router artifact that did.",
                PER_SECOND,
                Query(per_second("ray_pointsman_decisions_total", "router"), "{{router}}"),
                width=THIRD,
                stacked=True,
            ),
            lines(
                "Guarded share",
                "Share of the decisions that the guard made: for the objective, or because the "
                "prompt is unlike any training prompt.",
                SHARE,
                Query(guarded, "guarded"),
                width=THIRD,
                top=1,
            ),
            lines(
                "Out-of-distribution ratio",
                "Share of the last 500 routed requests that are unlike any training prompt "
                "(novelty of 1 and more); mean and highest of the ingress replicas.",
                SHARE,
                Query("avg(ray_pointsman_ood_ratio)", "mean"),
                Query("max(ray_pointsman_ood_ratio)", "highest replica"),
                width=THIRD,
                top=1,
            ),
        ],
    )


def _faults() -> Row:
    fallbacks = per_second("ray_pointsman_fallbacks_total", "expert", _EXPERT)
    return Row(
        "Errors",
        [
            lines(
                "Errors by status",
                "Requests that ended in an error, by HTTP status; `stream`: an answer that broke "
                "off.",
                REQUESTS,
                Query(counted(per_second("ray_pointsman_errors_total", "status")), "{{status}}"),
                width=QUARTER,
                stacked=True,
            ),
            lines(
                "Turned away",
                "Requests answered 429 because the queues were full, and requests refused before "
                "a decision: unauthorized, forbidden, or by which limit of the key.",
                REQUESTS,
                Query(counted(per_second("ray_pointsman_shed_total")), "queues full"),
                Query(
                    counted(per_second("ray_pointsman_refused_requests_total", "reason")),
                    "{{reason}}",
                ),
                width=QUARTER,
                stacked=True,
            ),
            lines(
                "Fallbacks",
                "Requests that went on to another expert, by the one that failed.",
                REQUESTS,
                Query(counted(fallbacks, "expert", _EXPERT), "{{expert}}"),
                width=QUARTER,
                stacked=True,
            ),
            lines(
                "Blind decisions",
                "Queries decided by the experts' means alone, since the router's model did not "
                "answer.",
                PER_SECOND,
                Query(counted(per_second("ray_pointsman_blind_decisions_total")), "blind"),
                width=QUARTER,
            ),
        ],
    )
