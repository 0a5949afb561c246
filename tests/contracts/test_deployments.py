"""Every file in deployments/ is valid and builds the application it describes, without a GPU."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from ray.serve._private.build_app import build_app
from ray.serve.llm import LLMConfig
from vllm.config.cache import CacheConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.launchers.cli_args import FrontendArgs

from serve.app import build
from serve.engine_arguments import written
from serve.online.experts import llm_config
from serve.settings_file import read_config, settings_of
from serve.sizing.asks import VLLM_SHARE, asks_of
from serve.sizing.models import Model

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "deployments").glob("*.yaml"))


@pytest.fixture(params=FILES, ids=lambda file: file.name)
def file(request):
    return request.param


def settings(file):
    return settings_of(read_config(file), file)


def local_experts(file):
    return [expert for expert in settings(file).experts if expert.remote is None]


def deployments(file):
    """Name -> deployment, as Serve's controller takes the built application apart."""
    application = build(read_config(file)["applications"][0]["args"])
    return {d.name: d for d in build_app(application, name="pointsman").deployments}


def test_the_header_says_for_whom_and_how_to_start(file):
    header = file.read_text().split("proxy_location")[0]
    assert header.startswith("# For ") and "Start:" in header
    assert f"serve run deployments/{file.name}" in header


def test_it_builds_one_deployment_an_expert_and_the_ingress(file):
    built = deployments(file)
    experts = {f"LLMServer:{expert.id}" for expert in local_experts(file)}
    assert set(built) == experts | {"RouterIngress"}


def test_autoscaling_bounds_reach_serve(file):
    built = deployments(file)
    for expert in local_experts(file):
        scaling = built[f"LLMServer:{expert.id}"]._deployment_config.autoscaling_config
        assert scaling.min_replicas == expert.autoscaling.min_replicas
        assert scaling.max_replicas == expert.autoscaling.max_replicas
        assert scaling.target_ongoing_requests == expert.autoscaling.target_ongoing_requests


def test_gpu_experts_ask_for_their_gpus():
    gpu = settings(ROOT / "deployments/gpu.yaml")
    assert [expert.id for expert in gpu.experts] == ["bio", "code", "maths", "general", "reasoning"]
    for expert in gpu.experts:
        config: LLMConfig = llm_config(expert)
        engine = config.get_engine_config()
        gpus = [bundle["GPU"] for bundle in engine.placement_bundles]
        assert gpus == [1] * expert.engine["tensor_parallel_size"]
        assert all("accelerator_type:L40S" in bundle for bundle in engine.placement_bundles)
        assert config.experimental_configs["stream_batching_interval_ms"] == 0


def test_what_check_says_is_asked_is_what_serve_will_ask(file):
    ours = settings(file)
    keys = [f"experts[{i}]" for i in range(len(ours.experts))]
    nowhere = dict.fromkeys([*keys, "router"], Model("m", "missing"))
    *experts, router, _ = asks_of(ours, nowhere)
    for expert, ask in zip(ours.experts, experts, strict=True):
        bundles = []
        if expert.remote is None:
            engine = llm_config(expert).get_engine_config()
            assert engine.placement_strategy == "PACK"
            bundles = engine.placement_bundles
        assert [b.cpus for b in ask.bundles] == [b["CPU"] for b in bundles]
        assert [b.gpus for b in ask.bundles] == [b.get("GPU", 0) for b in bundles]
    ingress = deployments(file)["RouterIngress"]
    assert ingress.ray_actor_options["num_cpus"] == router.bundles[0].cpus
    scaling = ingress._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas) == router.replicas


def test_vllms_argument_classes_have_the_fields_that_their_source_says():
    assert written() == {f.name for kind in (AsyncEngineArgs, FrontendArgs) for f in fields(kind)}


def test_vllm_takes_the_share_of_the_memory_that_check_says():
    assert CacheConfig.gpu_memory_utilization == VLLM_SHARE


def test_the_local_application_listens_on_the_loopback():
    local = yaml.safe_load((ROOT / "deployments/local.yaml").read_text())
    assert local["http_options"]["host"] == "127.0.0.1"
