from __future__ import annotations

import pytest
from ray.serve._private.build_app import build_app

from serve.config import ExpertSettings
from serve.errors import SettingsError
from serve.hardware import cpu_dtype
from serve.online.experts import deployment, llm_config
from serve.online.server import ExpertServer


def expert(**fields):
    return ExpertSettings(id="e", model="org/model", **fields)


def test_on_the_cpu_the_engine_computes_in_what_is_fast_there():
    assert llm_config(expert()).engine_kwargs["dtype"] == cpu_dtype()
    assert llm_config(expert(engine={"dtype": "float16"})).engine_kwargs["dtype"] == "float16"
    assert "dtype" not in llm_config(expert(accelerator_type="L4")).engine_kwargs


def test_chunks_are_never_held_back():
    assert llm_config(expert()).experimental_configs == {"stream_batching_interval_ms": 0}


def test_an_argument_that_vllm_does_not_have_is_refused():
    with pytest.raises(SettingsError, match=r"engine\.max_model_length: vLLM has no such; near it"):
        llm_config(expert(engine={"max_model_length": 1}))


@pytest.mark.parametrize("accelerator", [None, "L4"])
def test_every_replica_takes_the_resources_of_its_pool_of_nodes(tmp_path, accelerator):
    pinned = {"accelerator_type": accelerator, "resources": {"pool": 0.5}}
    config = llm_config(ExpertSettings(id="e", model=str(tmp_path), **pinned))
    (built,) = build_app(deployment(config), name="app").deployments
    bundles = built._replica_config.placement_group_bundles
    assert [bundle["pool"] for bundle in bundles] == [0.5]


def test_only_a_local_model_skips_the_download_task(tmp_path):
    hub = llm_config(expert())
    local = llm_config(ExpertSettings(id="e", model=str(tmp_path)))
    assert hub.callback_config.callback_class.__name__ == "CallbackBase"
    assert local.callback_config.callback_class.__name__ == "NoDownload"


def test_an_experts_deployment_keeps_rays_name_whatever_its_class():
    bound = deployment(llm_config(expert()))._bound_deployment
    assert bound.name == "LLMServer:e"
    assert bound.func_or_class is ExpertServer


@pytest.mark.parametrize(
    ("by", "name"), [("session", "ConsistentHashRouter"), ("prefix", "PrefixCacheAffinityRouter")]
)
def test_serves_own_request_routers_choose_the_replica(tmp_path, by, name):
    arguments = {"num_fallback_replicas": 0} if by == "session" else {"imbalanced_threshold": 20}
    replica = {"by": by, "arguments": arguments}
    made = deployment(llm_config(ExpertSettings(id="e", model=str(tmp_path), replica=replica)))
    (built,) = build_app(made, name="app").deployments
    routing = built._deployment_config.request_router_config
    assert routing.get_request_router_class().__name__ == name
    assert routing.request_router_kwargs == arguments
