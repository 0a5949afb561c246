"""The Dockerfiles: bases are pinned, what they copy exists, and they set what `serve run` sets."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from serve.launch import ENVIRONMENT, STARTUP
from tests.k8s.conftest import ROOT

FILES = sorted((ROOT / "k8s/images").glob("Dockerfile.*"))
LEFT_OUT = {"RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"}
"""Made short for Ctrl-C; in a cluster Ray's own."""


@pytest.fixture(params=FILES, ids=lambda file: file.name)
def dockerfile(request) -> str:
    """One text, with continued lines joined."""
    return re.sub(r"\\\n\s*", "", request.param.read_text())


def lines(text: str, word: str) -> list[str]:
    return [line[len(word) + 1 :] for line in text.splitlines() if line.startswith(f"{word} ")]


def variables(text: str) -> dict[str, str]:
    """Of the last stage."""
    last = text[text.rindex("\nFROM ") :]
    return dict(pair.split("=", 1) for line in lines(last, "ENV") for pair in line.split())


def test_bases_are_pinned(dockerfile):
    bases = lines(dockerfile, "FROM")
    assert len(bases) == 2
    for base in bases:
        assert re.search(r":\d+\.\d+\.\d+\S*", base) and "latest" not in base
        assert "@sha256:" in base or base == "rayproject/ray-llm:2.60.0-py312-cu130"


def test_what_it_copies_exists_and_is_in_the_context(dockerfile):
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for line in lines(dockerfile, "COPY"):
        if "--from" in line:
            continue
        for source in line.split()[:-1]:
            place = source.rstrip("/")
            assert (ROOT / place).exists(), source
            kept = {f"!{place}", f"!{Path(place).parent}"}
            assert kept & set(ignored), source


def test_it_sets_what_serve_run_sets(dockerfile):
    told = variables(dockerfile)
    for name, value in ENVIRONMENT.items():
        if name == "RAY_SERVE_HAPROXY_BINARY_PATH":
            assert told[name].endswith("/bin/pointsman-haproxy")
        elif name not in LEFT_OUT:
            assert told[name] == value, name
    assert told["PYTHONPATH"].endswith(STARTUP.removeprefix(str(ROOT)))
    assert "" not in told["PYTHONPATH"].split(":")


def test_it_writes_nowhere_but_below_the_writable_mounts(dockerfile):
    told = variables(dockerfile)
    assert told["HOME"] == "/tmp"
    assert told["VLLM_CACHE_ROOT"].startswith("/tmp/")
    assert lines(dockerfile, "USER")[-1] == "1000"


def test_streams_outlive_a_new_configuration_of_haproxy(dockerfile):
    assert int(variables(dockerfile)["RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"]) >= 600


def test_versions_are_the_pinned_ones(dockerfile, repository):
    pins = (repository / "constraints/cpu.txt").read_text().splitlines()
    for name, version in re.findall(r"'([a-z]+)==([\d.+a-z]+)'", dockerfile):
        assert f"{name}=={version}" in pins
    for name in re.findall(r"grep -E '\^\((.+?)\)==", dockerfile):
        pinned = {pin.split("==")[0] for pin in pins}
        assert set(name.split("|")) <= pinned


def test_the_cpu_images_models_are_ready_when_it_is_built(repository):
    assert "python convert.py deployments/local.yaml" in FILES[0].read_text()
    command = [sys.executable, "k8s/images/convert.py", "deployments/local.yaml"]
    told = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    folders = dict(line.split(": ") for line in told.stdout.splitlines())
    assert set(folders) == {"smollm2-135m", "gemma-3-270m"}
    assert all((Path(folder) / "config.json").is_file() for folder in folders.values())


def test_no_file_names_an_index():
    for file in FILES:
        assert "http" not in file.read_text()


def test_the_images_version_is_the_projects(repository):
    version = re.search(r'version = "(.+)"', (repository / "pyproject.toml").read_text())[1]
    for overlay in ("cpu", "gpu"):
        file = repository / "k8s/overlays" / overlay / "kustomization.yaml"
        (image,) = yaml.safe_load(file.read_text())["images"]
        assert image["newTag"] == f"{version}-{overlay}"
    assert f"IMAGE ?= pointsman:{version}\n" in (repository / "Makefile").read_text()
