"""The real kustomize builds what our part of it builds; a real API server takes it.

Neither is a Python package, so neither is on every machine: without them the other files here
validate the same manifests, built by our part and held against the schemas.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
import yaml

from tests.k8s.conftest import FOLDERS, ROOT
from tests.k8s.kustomize import build

KUBECTL = os.environ.get("POINTSMAN_KUBECTL") or shutil.which("kubectl")
CONTEXT = os.environ.get("POINTSMAN_KUBE_CONTEXT")


def kubectl(*words: object) -> str:
    done = subprocess.run([str(KUBECTL), *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def by_name(documents):
    return {(each["kind"], each["metadata"]["name"]): each for each in documents}


@pytest.mark.skipif(KUBECTL is None, reason="no kubectl on PATH: POINTSMAN_KUBECTL")
@pytest.mark.parametrize("folder", FOLDERS)
def test_kustomize_builds_the_same(folder):
    real = list(yaml.safe_load_all(kubectl("kustomize", ROOT / "k8s" / folder)))
    ours = build(ROOT / "k8s" / folder)
    assert len(real) == len(ours)
    assert by_name(real) == by_name(ours)


@pytest.mark.skipif(CONTEXT is None, reason="no API server: POINTSMAN_KUBE_CONTEXT")
@pytest.mark.parametrize("folder", FOLDERS)
def test_an_api_server_takes_it(folder):
    """By server-side dry run, strictly; the server needs the CRDs and the namespace pointsman."""
    server = ("--context", CONTEXT, "apply", "--dry-run=server", "--validate=strict")
    kubectl(*server, "-k", ROOT / "k8s" / folder)


def test_what_is_not_understood_is_refused(tmp_path):
    (tmp_path / "kustomization.yaml").write_text("namePrefix: a\nresources: []\nnamespace: b\n")
    with pytest.raises(ValueError, match="namePrefix"):
        build(tmp_path)


def test_a_patch_without_a_target_is_refused(tmp_path):
    (tmp_path / "p.yaml").write_text("[]")
    (tmp_path / "kustomization.yaml").write_text(
        "resources: []\nnamespace: b\npatches: [{path: p.yaml, target: {kind: Job, name: x}}]\n"
    )
    with pytest.raises(ValueError, match="finds nothing"):
        build(tmp_path)
