"""Every expression, asked of Prometheus's own engine (promtool) over series as Ray exports them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from serve.dashboards.catalogue import built
from serve.dashboards.expressions import expressions, metrics_of
from serve.dashboards.promql import difference, grown, mean, per_second, quantile, share, summed

EXPRESSIONS = [
    pytest.param(expr, id=f"{name}: {title}")
    for name, dashboard in built().items()
    for title, expr in expressions(dashboard)
]
EXPERT, MODEL = "expert", "model_name"
COUNTERS = {
    "requests": (EXPERT, "chosen_by"),
    "errors": ("status",),
    "shed": (),
    "encoder_passes": (),
    "decisions": ("router",),
    "guarded_decisions": ("router",),
    "cost_usd": ("key", EXPERT),
    "cost_saved_usd": ("against",),
    "cost_lost_usd": ("against",),
    "usage_tokens": ("key", EXPERT, "direction"),
    "fallbacks": (EXPERT,),
    "expert_failures": (EXPERT,),
    "wakeups": (EXPERT,),
    "blind_decisions": (),
    "refused_requests": ("reason",),
}
GAUGES = {
    "pointsman_expert_share": (EXPERT, "replica"),
    "pointsman_guard_active": ("router", "replica"),
    "pointsman_ood_ratio": ("replica",),
    "pointsman_circuit_open": (EXPERT, "replica"),
    "pointsman_expert_queue_depth": (EXPERT, "replica"),
    "serve_autoscaling_target_replicas": ("deployment", "application"),
    "serve_deployment_replica_healthy": ("deployment", "application", "replica"),
    "vllm_num_requests_running": (MODEL,),
    "vllm_num_requests_waiting": (MODEL,),
    "vllm_kv_cache_usage_perc": (MODEL,),
}
HISTOGRAMS = {
    "decision_seconds": ("stage",),
    "batch_size": (),
    "predicted_quality": (EXPERT,),
    "measured_quality": (EXPERT,),
    "ttft_seconds": (EXPERT,),
    "time_per_output_token_seconds": (EXPERT,),
    "answer_seconds": (EXPERT,),
}
LABELS = {
    **{f"ray_pointsman_{name}_total": labels for name, labels in COUNTERS.items()},
    **{f"ray_{name}": labels for name, labels in GAUGES.items()},
    **{f"ray_pointsman_{name}": (*labels, "le") for name, labels in HISTOGRAMS.items()},
}
"""Metric, as Ray exports it -> the labels that the README's table gives it."""

VALUES = {"direction": ("input", "output"), "chosen_by": ("router", "client")} | {
    "deployment": ("LLMServer:a", "RouterIngress"),
    "stage": ("embed", "total"),
    "le": ("0.1", "+Inf"),
}


def promtool(*words: str) -> str:
    binary = shutil.which("promtool")
    if binary is None:
        pytest.skip("no promtool: apt-get install prometheus")
    done = subprocess.run([binary, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def series_of(metric: str) -> list[str]:
    """A metric's series of two workers, which tell themselves apart by labels of Ray's."""
    made = [""]
    for label in LABELS[metric]:
        values = VALUES.get(label, ("a", "b"))
        made = [f'{before}, {label}="{value}"' for before in made for value in values]
    names = [metric]
    if "le" in LABELS[metric]:
        names = [f"{metric}_bucket", f"{metric}_sum", f"{metric}_count"]
    return [
        f'{name}{{WorkerId="{worker}"{labels}}}'
        for name in names
        for labels in made
        for worker in ("w1", "w2")
    ]


def asked(folder: Path, series: dict[str, str], wanted: dict[str, dict[str, float]]) -> None:
    """Asks promtool at the end of two minutes, a scrape every 15 s, and compares."""
    cases = [
        {
            "expr": expr,
            "eval_time": "2m",
            "exp_samples": [{"labels": labels, "value": value} for labels, value in said.items()],
        }
        for expr, said in wanted.items()
    ]
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    test = {"interval": "15s", "input_series": inputs, "promql_expr_test": cases}
    file = folder / "test.json"
    file.write_text(json.dumps({"tests": [test]}))
    promtool("test", "rules", str(file))


def test_every_expression_parses(tmp_path):
    rules = [
        {"record": f"dashboards:expression:{i}", "expr": case.values[0]}
        for i, case in enumerate(EXPRESSIONS)
    ]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [{"name": "dashboards", "rules": rules}]}))
    assert f"SUCCESS: {len(rules)} rules found" in promtool("check", "rules", str(file))


def test_every_expression_has_data_where_its_metrics_have(tmp_path):
    series = {name: "1+1x8" for metric in LABELS for name in series_of(metric)}
    asked(
        tmp_path,
        series,
        {f"count({case.values[0]}) > bool 0": {"{}": 1} for case in EXPRESSIONS},
    )


@pytest.mark.parametrize("expr", EXPRESSIONS)
def test_what_it_sums_by_are_labels_of_its_metrics(expr):
    kept = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", expr))))
    matched = set(re.findall(r"(\w+)(?:=~|!=|=)\"", expr))
    for metric in metrics_of(expr):
        assert kept | matched <= set(LABELS[metric])


def counted(per_scrape: float) -> str:
    return f"0+{per_scrape}x8"


@pytest.mark.parametrize(
    ("saved", "lost"),
    [(3, 1), (3, 0), (0, 1)],
    ids=["both", "nothing lost", "nothing saved"],
)
def test_a_net_saving_needs_not_both_counters(tmp_path, saved, lost):
    """Ray exports a counter from its first increment on: none is at zero."""
    series = {
        f'{name}{{against="priciest", WorkerId="{worker}"}}': counted(each)
        for name, each in (("saved_total", saved), ("lost_total", lost))
        if each
        for worker in ("w1", "w2")
    }
    in_all = difference(summed("saved_total", "against"), summed("lost_total", "against"))
    rate = difference(
        per_second("saved_total", "against", window="1m"),
        per_second("lost_total", "against", window="1m"),
    )
    label, scrapes_of_both = '{against="priciest"}', 2 * 8
    net = (saved - lost) * scrapes_of_both
    asked(tmp_path, series, {in_all: {label: net}, f"round(120 * ({rate}), 0.001)": {label: net}})


def test_a_share_is_zero_before_its_part_was_ever_counted_and_nothing_without_the_whole(tmp_path):
    expr = share(per_second("guarded_total", window="1m"), per_second("all_total", window="1m"))
    decided = {'all_total{router="r", WorkerId="w"}': counted(10)}
    guarded = {'guarded_total{router="r", WorkerId="w"}': counted(4)}
    asked(tmp_path, decided, {expr: {"{}": 0}})
    asked(tmp_path, decided | guarded, {expr: {"{}": 0.4}})
    asked(tmp_path, guarded, {expr: {}})


def test_means_and_quantiles_are_over_all_workers(tmp_path):
    """Worker 1 observes 0.5 s thirty times a minute, worker 2 3 s ten times."""
    series = {}
    for worker, sums, counts, under_one in (("w1", 3.75, 7.5, 7.5), ("w2", 7.5, 2.5, 0)):
        at = f'expert="a", WorkerId="{worker}"'
        series |= {
            f"ttft_sum{{{at}}}": counted(sums),
            f"ttft_count{{{at}}}": counted(counts),
            f'ttft_bucket{{{at}, le="1"}}': counted(under_one),
            f'ttft_bucket{{{at}, le="5"}}': counted(counts),
            f'ttft_bucket{{{at}, le="+Inf"}}': counted(counts),
        }
    wanted: dict[str, dict[str, Any]] = {
        mean("ttft", "expert", window="1m"): {'{expert="a"}': 1.125},
        quantile(0.75, "ttft", "expert").replace("$__rate_interval", "1m"): {'{expert="a"}': 1},
        grown("ttft_count").replace("$__range", "1m"): {"{}": 40},
    }
    asked(tmp_path, series, wanted)
