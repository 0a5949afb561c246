"""Dashboard: what answers cost, by expert and by key, and what routing saves."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from serve.dashboards.panels import (
    COUNT,
    PER_SECOND,
    THIRD,
    USD,
    Query,
    Row,
    choice,
    dashboard,
    lines,
    number,
)
from serve.dashboards.promql import difference, grown, per_second, summed

_EXPERT = 'expert=~"$expert"'
_PAID = f'{_EXPERT}, key=~"$key"'
_COST = "ray_pointsman_cost_usd_total"
_SAVED = "ray_pointsman_cost_saved_usd_total"
_LOST = "ray_pointsman_cost_lost_usd_total"
_REQUESTS = "ray_pointsman_requests_total"
_TOKENS = "ray_pointsman_usage_tokens_total"


def build() -> Dashboard:
    """The dashboard."""
    return dashboard(
        "cost",
        "What answers cost, by expert and by key, and what routing saves against a single expert.",
        [choice("expert", _REQUESTS), choice("key", _COST)],
        [_now(), _by("expert"), _by("key"), _tokens(), _savings()],
    )


def _now() -> Row:
    per_request = f"{grown(_COST, '', _EXPERT)} / {grown(_REQUESTS, '', _EXPERT)}"
    return Row(
        "In the time shown",
        [
            number(
                "Cost",
                "US dollars of the answers, of all experts and keys chosen above.",
                USD,
                Query(grown(_COST, "", _PAID), "cost"),
            ),
            number(
                "Cost per 1000 requests",
                "Of the experts chosen above and all keys.",
                USD,
                Query(f"1000 * {per_request}", "cost"),
            ),
            number(
                "Net saving",
                "What the answers cost less than that expert's would have for as many tokens; "
                "below zero: more. Of all experts and keys.",
                USD,
                Query(difference(grown(_SAVED, "against"), grown(_LOST, "against")), "{{against}}"),
            ),
            number(
                "Tokens",
                "In and out, of all experts and keys chosen above.",
                COUNT,
                Query(grown(_TOKENS, "direction", _PAID), "{{direction}}"),
            ),
        ],
    )


def _by(label: str) -> Row:
    rate = f"3600 * {per_second(_COST, label, _PAID)}"
    return Row(
        f"Cost by {label}",
        [
            lines(
                f"Cost by {label}, in all",
                "US dollars since the metrics began; they begin anew with their node.",
                USD,
                Query(summed(_COST, label, _PAID), f"{{{{{label}}}}}"),
                stacked=True,
            ),
            lines(
                f"Cost by {label}, per hour",
                "US dollars per hour.",
                USD,
                Query(rate, f"{{{{{label}}}}}"),
                stacked=True,
            ),
        ],
    )


def _tokens() -> Row:
    asked = per_second(_REQUESTS, "expert", _EXPERT)
    return Row(
        "What it pays for",
        [
            lines(
                "Tokens by key and direction",
                "Tokens of the answers, per second.",
                PER_SECOND,
                Query(per_second(_TOKENS, "key, direction", _PAID), "{{key}} {{direction}}"),
            ),
            lines(
                "Cost per 1000 requests by expert",
                "US dollars for the requests that were dispatched to each expert, of all keys.",
                USD,
                Query(f"1000 * {per_second(_COST, 'expert', _EXPERT)} / {asked}", "{{expert}}"),
            ),
        ],
    )


def _savings() -> Row:
    def hourly(counter: str) -> str:
        return f"3600 * {per_second(counter, 'against')}"

    net = difference(per_second(_SAVED, "against"), per_second(_LOST, "against"))
    return Row(
        "Saved and lost, of all experts and keys",
        [
            lines(
                "Saved per hour",
                "By answers that cost less than that expert's would have for as many tokens.",
                USD,
                Query(f"{hourly(_SAVED)} or 0 * {hourly(_LOST)}", "against {{against}}"),
                width=THIRD,
            ),
            lines(
                "Lost per hour",
                "By answers that cost more.",
                USD,
                Query(f"{hourly(_LOST)} or 0 * {hourly(_SAVED)}", "against {{against}}"),
                width=THIRD,
            ),
            lines(
                "Net saving per hour",
                "Saved minus lost.",
                USD,
                Query(f"3600 * ({net})", "against {{against}}"),
                width=THIRD,
            ),
        ],
    )
