"""The PrometheusRule is the rules of deployments/prometheus, and Prometheus takes them."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import yaml

from k8s.prometheus_rule import SOURCES, TARGET, text
from tests.k8s.conftest import ROOT
from tests.k8s.kustomize import build

PROMTOOL = shutil.which("promtool")


@pytest.fixture(scope="module")
def spec():
    built = build(ROOT / "k8s/monitoring")
    (found,) = [document for document in built if document["kind"] == "PrometheusRule"]
    return found["spec"]


def test_the_kept_file_is_what_make_manifests_writes():
    assert TARGET.read_text() == text(), "make manifests"


def test_it_has_every_rule_of_deployments(spec):
    files = [yaml.safe_load((ROOT / source).read_text()) for source in SOURCES]
    assert spec["groups"] == [group for file in files for group in file["groups"]]


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool here: apt-get install prometheus")
def test_promtool_takes_it(spec, tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(spec))
    done = subprocess.run([str(PROMTOOL), "check", "rules", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
