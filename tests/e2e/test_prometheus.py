"""A real Prometheus scrapes the running application: what it says is what the answers said."""

from __future__ import annotations

import json
import re
import time
from urllib.parse import urlsplit

import pytest

from serve.dashboards.catalogue import built
from serve.dashboards.expressions import expressions
from tests.e2e.conftest import EXPERTS, ROOT
from tests.prometheus.server import prometheus

EXPORTED_S = 40.0
"""Ray exports every 10 s, its agent takes a moment, and rates want two scrapes of what grew."""

COST = "sum(ray_pointsman_cost_usd_total)"

RARE = {
    "pointsman_blind_decisions_total",
    "pointsman_challenger_compared_total",
    "pointsman_challenger_differs_total",
    "pointsman_challenger_regret_total",
    "pointsman_expert_failures_total",
    "pointsman_fallbacks_total",
    "pointsman_guarded_decisions_total",
    "pointsman_ledger_lost_total",
    "pointsman_records_lost_total",
    "pointsman_refused_requests_total",
    "pointsman_router_refused_total",
    "pointsman_shed_total",
    "pointsman_wakeups_total",
}
"""Counted where something goes wrong, or something is rolled out: tested where it does."""


@pytest.fixture(scope="module")
def server(application, tmp_path_factory):
    rules = [ROOT / f"deployments/prometheus/{n}.yaml" for n in ("recording", "alerts")]
    folder = tmp_path_factory.mktemp("prometheus")
    with prometheus(folder, [urlsplit(application.url).netloc], rules) as running:
        yield running


@pytest.fixture(scope="module")
def asked(application, server):
    """What answers to some traffic said they cost, and what Prometheus had counted before."""
    before = settled(server, COST)
    said = [ask(application, model, stream) for model in MODELS for stream in (False, True)]
    for request_id, _ in said[:2]:
        praise(application, request_id)
    nobody = {"model": "nobody", "messages": [{"role": "user", "content": "x"}]}
    assert application.post("/v1/chat/completions", nobody)[0] == 404
    return before, sum(cost for _, cost in said)


MODELS = ["auto", "auto:cheap", "auto:quality", *EXPERTS]


def settled(server, expr):
    """The sum once no export changes it any more: other tests have asked before."""
    value = None
    while value != (value := total(server, expr)):
        time.sleep(EXPORTED_S / 2)
    return value


def total(server, expr):
    return sum(sample.value for sample in server.query(expr))


def praise(application, request_id):
    score = {"request_id": request_id, "score": 0.75}
    assert application.post("/v1/feedback", score)[0] == 200


def ask(application, model, stream):
    """One request; its id, and the dollars in its answer."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": "Name three rivers."}],
        "max_tokens": 12,
        "stream": stream,
    }
    if not stream:
        status, answer, headers = application.post("/v1/chat/completions", body)
        assert status == 200
        return headers["x-request-id"], answer["usage"]["cost_usd"]
    body["stream_options"] = {"include_usage": True}
    status, text, headers = application.text("/v1/chat/completions", json.dumps(body))
    (usage,) = re.findall(r'"usage":(\{.*?\})', text)[-1:]
    assert status == 200
    return headers["x-request-id"], json.loads(usage)["cost_usd"]


def test_the_dashboards_dollars_are_those_of_the_answers(asked, server):
    before, said = asked
    until = time.monotonic() + EXPORTED_S
    while (counted := total(server, COST) - before) != pytest.approx(said, rel=1e-6):
        assert time.monotonic() < until, (counted, said)
        time.sleep(0.5)
    saved, lost = (
        total(server, f'sum(ray_pointsman_cost_{kind}_usd_total{{against="priciest"}})')
        for kind in ("saved", "lost")
    )
    assert saved > 0 and lost == 0


def test_every_metric_of_the_readme_is_there_with_its_labels(asked, server, repository):
    table = (repository / "README.md").read_text().split("## Metrics")[1].split("\n## ")[0]
    rows = re.findall(r"`ray_(\w+)(?:\{([^}]*)\})?`", table)
    for name, labels in rows:
        if name in RARE or not re.match("pointsman|vllm|serve", name):
            continue
        ending = "_count" if name.endswith(("_seconds", "_size", "_quality")) else ""
        for sample in server.wait_for(f"ray_{name}{ending}", EXPORTED_S):
            assert set(labels.split(", ") if labels else ()) <= set(sample.labels), name


def test_labels_take_only_what_the_settings_hold(asked, server):
    """However many clients ask: a label per request would drown Prometheus."""
    for label, values in {
        "expert": set(EXPERTS),
        "key": {"local"},
        "direction": {"input", "output"},
        "against": {"best_single", "priciest"},
        "chosen_by": {"router", "client"},
        "stage": {"queue", "batch_wait", "tokenise", "embed", "predict", "choose", "total"},
    }.items():
        found = server.query(f'count by ({label}) ({{__name__=~"ray_pointsman_.*",{label}!=""}})')
        assert {sample.labels[label] for sample in found} <= values


def panels():
    return [
        pytest.param(expr, id=f"{name}: {panel}, {i}")
        for name, dashboard in built().items()
        for i, (panel, expr) in enumerate(expressions(dashboard))
    ]


@pytest.mark.parametrize("expr", panels())
def test_every_panel_shows_something(expr, application, asked, server):
    until = time.monotonic() + EXPORTED_S
    while not any(sample.value == sample.value for sample in server.query(expr)):
        assert time.monotonic() < until, expr
        praise(application, ask(application, "auto", stream=True)[0])
        time.sleep(1)


def test_the_rules_are_evaluated_on_what_the_application_says(asked, server):
    rules = [rule for group in server.rule_groups() for rule in group["rules"]]
    assert rules and not [rule["name"] for rule in rules if rule["health"] != "ok"]
    firing = {a["labels"]["alertname"] for a in server.alerts() if a["state"] == "firing"}
    assert not firing & {"PointsmanAbsent", "PointsmanExpertWithoutReplica", "PointsmanShedding"}
