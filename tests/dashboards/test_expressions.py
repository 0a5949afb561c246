from __future__ import annotations

from serve.dashboards.expressions import expressions, metrics_of


def test_an_expression_is_as_prometheus_takes_it():
    panel = {
        "title": "Cost",
        "targets": [
            {"expr": 'sum by (key) (rate(ray_a_total{key=~"$key"}[$__rate_interval]))'},
            {"expr": "increase(ray_b_total[$__range])"},
        ],
    }
    assert expressions({"panels": [{"title": "a row"}, panel]}) == [
        ("Cost", 'sum by (key) (rate(ray_a_total{key=~".*"}[1m]))'),
        ("Cost", "increase(ray_b_total[1m])"),
    ]
    assert expressions({"panels": [panel]}, window="5m")[1] == ("Cost", "increase(ray_b_total[5m])")


def test_panels_of_a_collapsed_row_are_found():
    panel = {"title": "Cost", "targets": [{"expr": "ray_a"}]}
    row = {"title": "a row", "type": "row", "collapsed": True, "panels": [panel]}
    assert expressions({"panels": [row]}) == [("Cost", "ray_a")]


def test_a_histograms_series_are_one_metric():
    expr = "rate(ray_ttft_seconds_sum[1m]) / rate(ray_ttft_seconds_count[1m]) + ray_cost_usd_total"
    assert metrics_of(expr) == {"ray_ttft_seconds", "ray_cost_usd_total"}
