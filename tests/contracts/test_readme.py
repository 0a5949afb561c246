"""The README says what the repository does."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from huggingface_hub import constants
from pydantic import BaseModel
from ray.util.metrics import Metric

from serve import __version__
from serve.config import (
    AbilitySettings,
    AccessSettings,
    Autoscaling,
    BatchSettings,
    CascadeSettings,
    ChallengerSettings,
    ExpertSettings,
    IngressScaling,
    KeySettings,
    LimitSettings,
    PackagedModel,
    Preference,
    Price,
    RecordSettings,
    RemoteSettings,
    ReplicaChoice,
    RolloutSettings,
    RouterSettings,
    TracingSettings,
)
from serve.offline.score import score
from serve.online.metering import AccessTelemetry, AnswerTelemetry
from serve.online.telemetry import Telemetry
from serve.settings_file import read_config, settings_of
from serve.sizing.asks import GIB, asks_of
from serve.sizing.cluster import Cluster, Node
from serve.sizing.models import model_at
from serve.sizing.report import Report
from serve.sizing.shortfalls import shortfalls
from tests.dashboards.test_promql import LABELS


def section(text: str, start: str, end: str) -> str:
    return text.split(start)[1].split(end)[0]


def numbers(line: str) -> list[float]:
    return [float(n) for n in re.findall(r"\| +(\d[\d.]*)%? ", line)]


def test_the_results_table_is_what_make_results_prints(repository, monkeypatch):
    monkeypatch.chdir(repository)
    file = repository / "deployments/local.yaml"
    printed = score(repository / "deployments/local/table", settings_of(read_config(file), file))
    readme = (repository / "README.md").read_text()
    kept = section(readme, "<!-- results -->", "<!-- /results -->").strip().splitlines()
    assert len(kept) == len(printed.splitlines())
    for mine, line in zip(kept, printed.splitlines(), strict=True):
        assert mine.split("|")[1] == line.split("|")[1]
        # Another CPU rounds the encoder's vectors otherwise, and a pick or two may flip.
        for x, y in zip(numbers(mine), numbers(line), strict=True):
            assert x == pytest.approx(y, rel=0.03, abs=2e-4)


def test_the_table_of_check_is_what_it_prints_of_the_same_machine(
    repository, monkeypatch, tmp_path
):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    file = repository / "deployments/gpu.yaml"
    settings = settings_of(read_config(file), file)
    models = {
        f"experts[{i}]": replace(model_at(expert.here), disk_free=200 * GIB)
        for i, expert in enumerate(settings.experts)
    }
    asks = asks_of(settings, {**models, "router": model_at(settings.router.encoder)})
    node = Node("n", 16.0, 128 * GIB, 4, "L40S", 45 * GIB)
    machine = Cluster("this machine", (node,), False, 16.0, 4.0, 120 * GIB, 36 * GIB, 64 * GIB)
    report = Report("deployments/gpu.yaml", asks, machine, {}, shortfalls(asks, machine))
    readme = (repository / "README.md").read_text()
    kept = section(readme, "<!-- check -->", "<!-- /check -->").strip("\n")
    printed = [line for line in report.text().splitlines() if line]
    assert [line.strip() for line in kept.splitlines() if line] == [p.strip() for p in printed]


@pytest.mark.parametrize(
    ("model", "prefix"),
    [
        (ExpertSettings, "experts[]."),
        (Price, "."),
        (Autoscaling, "experts[].autoscaling."),
        (IngressScaling, "router.replicas."),
        (RouterSettings, "router."),
        (BatchSettings, "."),
        (CascadeSettings, "router.cascade."),
        (PackagedModel, ""),
        (RecordSettings, "records."),
        (LimitSettings, "limits."),
        (RemoteSettings, "experts[].remote."),
        (AbilitySettings, "experts[].abilities."),
        (ReplicaChoice, "experts[].replica."),
        (Preference, "router.preferences.NAME."),
        (AccessSettings, "access."),
        (TracingSettings, "tracing."),
        (KeySettings, "access.keys[]."),
        (RolloutSettings, "user_config."),
        (ChallengerSettings, "user_config.challenger."),
    ],
)
def test_every_setting_is_in_the_reference(repository, model: type[BaseModel], prefix):
    reference = section((repository / "README.md").read_text(), "## Settings", "## What is inside")
    for name, field in model.model_fields.items():
        key = prefix + (field.alias or name)
        assert f"`{key}" in reference or f"{key}`" in reference or f"{key}." in reference, key


def test_every_file_the_readme_names_exists(repository):
    readme = (repository / "README.md").read_text()
    for name in re.findall(r"`((?:serve|deployments|constraints)/[\w./-]+)`", readme):
        assert (repository / name).exists(), name


def test_the_changelog_knows_the_version(repository):
    assert f"## {__version__}" in (repository / "CHANGELOG.md").read_text()
    pyproject = (repository / "pyproject.toml").read_text()
    assert f'version = "{__version__}"' in pyproject


def test_every_metric_is_in_the_table_with_its_labels(repository):
    text = section((repository / "README.md").read_text(), "## Metrics", "### Dashboards")
    told = {
        name: tuple(labels.split(", ")) if labels else ()
        for name, labels in re.findall(r"`ray_(pointsman_\w+)(?:\{([^}]*)\})?`", text)
    }
    made = {
        metric.info["name"]: tuple(metric.info["tag_keys"])
        for telemetry in (Telemetry("test"), AnswerTelemetry("test"), AccessTelemetry())
        for metric in vars(telemetry).values()
        if isinstance(metric, Metric)
    }
    assert made == told


def test_every_metric_of_the_dashboards_is_in_the_table_with_its_labels(repository):
    text = section((repository / "README.md").read_text(), "## Metrics", "### Dashboards")
    told = {
        name: set(re.findall(r"\w+", labels))
        for name, labels in re.findall(r"`(ray_\w+)(?:\{([^}]*)\})?`", text)
    }
    assert set(LABELS) - set(told) == set()
    for name, labels in LABELS.items():
        assert set(labels) - {"le"} <= told[name], name
