from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from serve import keys, launch
from serve.errors import SettingsError

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
    assert f"{file}: experts.1.prise: unknown key; allowed here: id, model, remote, price" in line


def test_a_key_unknown_to_ray_serve_stops_it_too(settings):
    config, file = settings
    config["http_options"]["prot"] = 8000
    file.write_text(yaml.safe_dump(config))
    line = one_line(serve_run(file))
    assert f"{file}: http_options.prot: unknown key; allowed here: host, port" in line


def test_so_does_one_of_a_deployments_options(settings):
    config, file = settings
    config["applications"][0]["deployments"] = [{"name": "RouterIngress", "num_replica": 2}]
    file.write_text(yaml.safe_dump(config))
    line = one_line(serve_run(file))
    assert f"{file}: applications.0.deployments.0.num_replica: unknown key; allowed here" in line


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


@pytest.mark.parametrize(("host", "said"), [("0.0.0.0", f"{keys.OPEN}\n"), ("127.0.0.1", "")])
def test_who_listens_to_others_without_keys_is_told(settings, monkeypatch, capsys, host, said):
    config, file = settings
    config["http_options"]["host"] = host
    file.write_text(yaml.safe_dump(config))

    def no_further(_):
        raise SettingsError("far enough")

    monkeypatch.setattr(launch, "_convert", no_further)
    monkeypatch.chdir(ROOT)
    with pytest.raises(SettingsError, match="far enough"):
        launch.run(file)
    assert capsys.readouterr().out == said


def test_a_redis_that_is_not_there_stops_it_with_one_line(settings):
    config, file = settings
    config["applications"][0]["args"]["access"] = {"redis": "POINTSMAN_NO_SUCH_VARIABLE"}
    file.write_text(yaml.safe_dump(config))
    line = one_line(serve_run(file))
    assert "access.redis: the environment variable POINTSMAN_NO_SUCH_VARIABLE is not set" in line


def test_so_does_a_key_where_its_hash_should_be_and_it_is_not_shown(settings):
    config, file = settings
    key = keys.make()
    config["applications"][0]["args"]["access"] = {"keys": [{"name": "a", "sha256": key}]}
    file.write_text(yaml.safe_dump(config))
    line = one_line(serve_run(file))
    assert f"{file}: access.keys.0.sha256: String should match" in line and key not in line
