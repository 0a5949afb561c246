from __future__ import annotations

import pytest

from serve.config import ExpertSettings
from serve.errors import SettingsError
from serve.hardware import cpu_dtype
from serve.online.experts import llm_config


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


def test_only_a_local_model_skips_the_download_task(tmp_path):
    hub = llm_config(expert())
    local = llm_config(ExpertSettings(id="e", model=str(tmp_path)))
    assert hub.callback_config.callback_class.__name__ == "CallbackBase"
    assert local.callback_config.callback_class.__name__ == "NoDownload"
