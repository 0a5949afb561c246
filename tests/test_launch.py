from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SERVE = Path(sys.executable).with_name("serve")


def serve_run(file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SERVE, "run", file], capture_output=True, text=True, cwd=ROOT, timeout=120
    )


@pytest.fixture
def settings(tmp_path):
    """deployments/local.yaml to be broken and written to the returned file."""
    config = yaml.safe_load((ROOT / "deployments/local.yaml").read_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        config["http_options"]["port"] = free.getsockname()[1]
    return config, tmp_path / "broken.yaml"


def one_line(answer: subprocess.CompletedProcess[str]) -> str:
    assert answer.returncode != 0
    assert answer.stdout == ""
    assert answer.stderr.count("\n") == 1, answer.stderr
    return answer.stderr


def test_an_unknown_key_stops_serve_run_with_one_line(settings):
    config, file = settings
    config["applications"][0]["args"]["experts"][1]["prise"] = {}
    file.write_text(yaml.safe_dump(config))
    line = one_line(serve_run(file))
    assert f"{file}: experts.1.prise: unknown key; allowed here: id, model, price" in line


def test_a_key_unknown_to_ray_serve_stops_it_too(settings):
    config, file = settings
    config["http_options"]["prot"] = 8000
    file.write_text(yaml.safe_dump(config))
    line = one_line(serve_run(file))
    assert f"{file}: http_options.prot: unknown key; allowed here: host, port" in line


def test_a_value_that_ray_serve_refuses_stops_it(settings):
    config, file = settings
    config["applications"][0]["import_path"] = "serve.app:build"
    config["http_options"]["port"] = "eighty"
    file.write_text(yaml.safe_dump(config))
    assert f"{file}: http_options.port: " in one_line(serve_run(file))


def test_a_route_prefix_without_a_slash_stops_it(settings):
    config, file = settings
    config["applications"][0]["route_prefix"] = "v1"
    file.write_text(yaml.safe_dump(config))
    assert f"{file}: applications.0.route_prefix: must start with /" in one_line(serve_run(file))


def test_a_corrupted_artifact_stops_it_before_any_model_is_loaded(settings, tmp_path):
    config, file = settings
    artifact = tmp_path / "router"
    shutil.copytree(ROOT / "deployments/local/router", artifact)
    arrays = artifact / "arrays.safetensors"
    arrays.write_bytes(arrays.read_bytes()[:-1] + b"x")
    config["applications"][0]["args"]["router"]["artifact"] = str(artifact)
    file.write_text(yaml.safe_dump(config))
    assert "is not the file its manifest pins; restore it" in one_line(serve_run(file))


def test_an_artifact_for_other_experts_stops_it(settings):
    config, file = settings
    config["applications"][0]["args"]["experts"][0]["id"] = "renamed"
    file.write_text(yaml.safe_dump(config))
    assert "the router was trained for experts" in one_line(serve_run(file))


def test_a_port_in_use_is_said_in_one_line(settings):
    config, file = settings
    file.write_text(yaml.safe_dump(config))
    port = config["http_options"]["port"]
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        line = one_line(serve_run(file))
    assert f"http_options.port: {port} on 127.0.0.1 cannot be used" in line


def test_yaml_that_is_not_yaml_names_the_place(settings):
    _, file = settings
    file.write_text("import_path: serve.app:build\napplications: [")
    assert f"{file}: while parsing" in one_line(serve_run(file))
