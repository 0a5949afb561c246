"""The verb as a person types it, on this machine and on a small real Ray."""

from __future__ import annotations

import json
import socket
from functools import partial

import pytest
import ray
import yaml
from huggingface_hub import constants

from serve import ray_token
from serve.online import ray_node
from serve.sizing.asks import GIB

FILES = ["local.yaml", "edge.yaml", "gpu.yaml"]


@pytest.fixture
def check(monkeypatch, typed):
    """Type its words; see typed."""
    monkeypatch.setenv("RAY_ADDRESS", "local")
    # This process has imported Ray already, which has then made up its mind.
    monkeypatch.setattr(ray_token, "send_token", lambda: None)
    return partial(typed, "check")


@pytest.fixture
def settings(repository, tmp_path):
    """A file of deployments/, on a free port, changed by a function."""

    def made(name, change=lambda args: None):
        config = yaml.safe_load((repository / "deployments" / name).read_text())
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            config["http_options"]["port"] = free.getsockname()[1]
        change(config["applications"][0]["args"])
        file = tmp_path / name
        file.write_text(yaml.safe_dump(config))
        return file

    return made


@pytest.fixture
def large(monkeypatch):
    """This machine, as if it had all the CPUs and the memory that are asked for."""
    found = ray_node.resources() | {"CPU": 64.0, "memory": 64 * GIB}
    monkeypatch.setattr(ray_node, "resources", lambda: found)
    monkeypatch.setattr(ray_node, "memory_bytes", lambda: 99 * GIB)


def said(out):
    return json.loads(out)


def keys(findings):
    return [finding["key"] for finding in findings]


@pytest.mark.parametrize("name", FILES)
def test_every_deployment_has_its_table(check, settings, name):
    file = settings(name)
    _, out, err = check(file)
    config = yaml.safe_load(file.read_text())
    rows = out.split("\n\n")[0].splitlines()
    ids = [expert["id"] for expert in config["applications"][0]["args"]["experts"]]
    names = ["replicas", *ids, "router", "Ray", "total", "here"]
    assert [row.split()[0] for row in rows] == names
    assert err == "" and out.splitlines()[-1].startswith(f"{file}: ")


def test_local_is_in_order_on_a_machine_that_is_large_enough(check, settings, large):
    status, out, _ = check("--json", settings("local.yaml"))
    assert said(out)["missing"] == [] and status == 0
    least = said(out)["total"]["at_least"]
    assert least["cpus"] == pytest.approx(1.2) and least["gpus"] == {}


def test_edge_misses_its_key_until_the_variable_is_set(check, settings, large, monkeypatch):
    file = settings("edge.yaml")
    monkeypatch.delenv("POINTSMAN_CLOUD_KEY", raising=False)
    status, out, _ = check(file)
    line = (
        "missing: experts[1].remote.api_key_env: the environment variable POINTSMAN_CLOUD_KEY is "
        "not set here"
    )
    assert status == 2 and line in out.splitlines()
    monkeypatch.setenv("POINTSMAN_CLOUD_KEY", "secret")
    status, out, _ = check(file)
    assert status == 0 and "secret" not in out
    assert "variable POINTSMAN_CLOUD_KEY (experts[1].remote.api_key_env): set" in out


def test_gpu_misses_its_gpus_on_a_machine_without(check, settings, large):
    status, out, _ = check("--json", settings("gpu.yaml"))
    assert status == 2
    assert keys(said(out)["missing"]) == [f"experts[{i}].accelerator_type" for i in range(5)]
    assert said(out)["total"]["at_least"]["gpus"] == {"L40S": 6}
    assert said(out)["total"]["at_most"]["gpus"] == {"L40S": 28}


def test_nothing_is_downloaded_or_converted(check, settings, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("local.yaml", "gpu.yaml"):
        check(settings(name))
    assert not (tmp_path / "hub").exists() and not (tmp_path / "cache").exists()


def test_what_may_not_be_downloaded_is_missing(check, settings, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    missing = keys(said(check("--json", settings("gpu.yaml"))[1])["missing"])
    assert missing[-6:] == [*(f"experts[{i}].model" for i in range(5)), "router.encoder"]


def test_all_that_is_wrong_beyond_the_file_is_told_at_once(check, settings, large, tmp_path):
    def change(args):
        args["experts"][0]["engine"] = {"max_model_length": 1}
        args["experts"][1]["model"]["sha256"] = 64 * "0"
        args["router"]["artifact"] = str(tmp_path / "nowhere")
        args["access"] = {"file": str(tmp_path / "keys.yaml"), "redis": "NO_SUCH_VARIABLE"}

    status, out, _ = check("--json", settings("local.yaml", change))
    assert status == 2
    assert keys(said(out)["missing"]) == [
        "experts.smollm2-135m.engine.max_model_length",
        "access.file",
        "access.redis",
        "router.artifact",
        "experts[1].model",
    ]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda args: args.update(routr={}), "routr: unknown key; allowed here: experts, router"),
        (
            lambda args: args["experts"][0]["engine"].update(tensor_parallel_size="two"),
            "experts.smollm2-135m.engine.tensor_parallel_size: must be a number above 0",
        ),
    ],
)
def test_a_mistake_in_the_file_is_one_line(check, settings, change, line):
    status, out, err = check(settings("local.yaml", change))
    assert status == 2 and out == ""
    assert line in err and err.count("\n") == 1


def test_a_port_in_use_is_missing(check, settings, large):
    file = settings("local.yaml")
    port = yaml.safe_load(file.read_text())["http_options"]["port"]
    with socket.create_server(("127.0.0.1", port)):
        status, out, _ = check(file)
    assert status == 2 and f"port {port} on 127.0.0.1 (http_options): taken" in out
    assert f"missing: http_options.port: {port} on 127.0.0.1 cannot be used" in out


def test_an_artifact_whose_encoder_is_not_at_hand_is_left_for_later(check, settings, large):
    def change(args):
        args["router"]["encoder"] = "org/an-encoder"

    status, out, _ = check("--json", settings("local.yaml", change))
    assert status == 0 and keys(said(out)["warnings"]) == ["router.artifact"]


def test_what_is_not_counted_is_said(check, settings, large):
    file = settings("local.yaml")
    config = yaml.safe_load(file.read_text())
    config["applications"][0]["deployments"] = [
        {"name": "RouterIngress", "num_replicas": 9, "user_config": {}}
    ]
    config["applications"].append({"name": "x", "route_prefix": "/x", "import_path": "x:y"})
    file.write_text(yaml.safe_dump(config))
    status, out, _ = check("--json", file)
    assert status == 0 and keys(said(out)["warnings"]) == [
        "applications[0].deployments.RouterIngress.num_replicas",
        "applications[1]",
    ]


@pytest.fixture
def small_ray():
    ray.shutdown()  # building a deployment in another test may have started one
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


def test_a_running_cluster_is_what_is_judged(check, settings, small_ray, monkeypatch):
    file = settings("local.yaml")
    assert "here                    1     none" in check("--address", small_ray, file)[1]
    status, out, _ = check("--address", small_ray, "--json", file)
    found = said(out)
    assert status == 2 and found["cluster"]["name"] == f"the Ray cluster at {small_ray}"
    # 1.2 CPUs on the one that there is; the experts come first and leave the router none.
    assert keys(found["missing"]) == ["router.cpus"]
    assert found["missing"][0]["text"] == (
        "0.2 asked for (replicas.min_replicas: 1), 0 of 1 left beside the others, on 1 node"
    )
    assert set(found["surroundings"].values()) == {"of the cluster's nodes, not looked at"}


def test_a_variable_that_only_the_nodes_need_is_a_warning(check, settings, small_ray, monkeypatch):
    monkeypatch.delenv("POINTSMAN_CLOUD_KEY", raising=False)
    status, out, _ = check("--address", small_ray, "--json", settings("edge.yaml"))
    assert "experts[1].remote.api_key_env" in keys(said(out)["warnings"])
    assert keys(said(out)["missing"]) == ["router.cpus"] and status == 2
