"""The rules are valid, do what their unit tests say, and name metrics that there are."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

HERE = Path(__file__).parent
RULES = HERE.parents[1] / "deployments/prometheus"
UNIT_TESTS = sorted(HERE.glob("*.yaml"))
PROMTOOL = shutil.which("promtool")
with_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="no promtool here: apt-get install prometheus"
)


def rules(name):
    """The rules of recording.yaml or alerts.yaml."""
    groups = yaml.safe_load((RULES / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


RECORDED = {rule["record"]: rule["expr"] for rule in rules("recording.yaml")}
ALERTS = {rule["alert"]: rule for rule in rules("alerts.yaml")}


def expectations():
    """(expression, labels of each sample that it shall have) of every unit test."""
    for file in UNIT_TESTS:
        for test in yaml.safe_load(file.read_text())["tests"]:
            for each in test["promql_expr_test"]:
                yield each["expr"], [sample["labels"] for sample in each["exp_samples"]]


def promtool(*words):
    done = subprocess.run([str(PROMTOOL), *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@with_promtool
def test_promtool_takes_the_rules():
    promtool("check", "rules", RULES / "recording.yaml", RULES / "alerts.yaml")


@with_promtool
def test_promtool_takes_the_configuration():
    promtool("check", "config", RULES / "prometheus.yaml")


@with_promtool
@pytest.mark.parametrize("file", UNIT_TESTS, ids=lambda file: file.stem)
def test_the_rules_do_what_their_unit_tests_say(file):
    promtool("test", "rules", file)


def test_every_name_is_given_once():
    assert len(RECORDED) == len(rules("recording.yaml"))
    assert len(ALERTS) == len(rules("alerts.yaml"))


@pytest.mark.parametrize("name", RECORDED)
def test_a_unit_test_has_a_value_of_the_recorded(name):
    assert any(samples and re.search(rf"\b{name}\b", expr) for expr, samples in expectations())


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_name_tells_its_window(name):
    windows = set(re.findall(r"(?:\[|offset )(\d+[mhd])", RECORDED[name]))
    assert windows <= set(re.findall(r"\d+[mhd]$", name))


@pytest.mark.parametrize("name", ALERTS)
def test_a_unit_test_sees_the_alert_fire_and_another_does_not(name):
    fires, quiet = False, False
    for expr, samples in expectations():
        asked = re.search(r'ALERTS\{.*alertname=~?"([^"]+)"', expr)
        if asked and re.fullmatch(asked[1], name):
            among = any(f'alertname="{name}", alertstate="firing"' in labels for labels in samples)
            fires, quiet = fires or among, quiet or not among
    assert fires and quiet


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_urgent_it_is_and_what_to_do(name):
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook"}
    assert alert["annotations"]["runbook"] == "README.md#alerts"


def test_alerts_read_what_is_recorded():
    for name, alert in ALERTS.items():
        used = set(re.findall(r"[a-z_]+:[a-z_]+:\w+", alert["expr"]))
        assert used <= set(RECORDED), name


def known_metrics(readme):
    """Every metric whose name begins a row of the README's table."""
    rows = [line.split("|")[1] for line in readme.splitlines() if line.startswith("| `ray_")]
    return {name for row in rows for name in re.findall(r"`(ray_\w+)", row)}


def test_the_readme_knows_every_metric_of_a_rule(repository):
    known = known_metrics((repository / "README.md").read_text())
    expressions = [*RECORDED.values(), *(alert["expr"] for alert in ALERTS.values())]
    used = {name for expr in expressions for name in re.findall(r"\bray_\w+", expr)}
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in used} <= known


def test_the_readme_says_what_to_do_about_every_alert(repository):
    readme = (repository / "README.md").read_text()
    section = re.split(r"^#+ Alerts$", readme, flags=re.M)[1]
    assert [name for name in ALERTS if f"`{name}`" not in section] == []
