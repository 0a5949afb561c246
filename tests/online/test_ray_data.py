from __future__ import annotations

import json

import pytest

from serve.online import ray_data
from serve.online.ray_data import Chat, Generated, answers, processor_config, request, result
from serve.settings_file import read_config, settings_of

SAMPLING = {"temperature": 0.0, "stop": [], "repetition_penalty": 1.0}


@pytest.fixture(scope="module")
def experts(repository):
    file = repository / "deployments/local.yaml"
    return settings_of(read_config(file), file).experts


@pytest.fixture(scope="module")
def config(experts):
    return processor_config(experts[0])


def row(messages, reference=""):
    return {"id": "p", "messages": json.dumps(messages), "reference": reference, "max_tokens": 7}


def test_an_expert_on_a_cpu_asks_for_its_cores_and_no_gpu(experts, config):
    assert config.placement_group_config["bundles"] == [{"CPU": experts[0].cpus, "GPU": 0}]
    assert config.accelerator_type is None
    assert config.engine_kwargs["max_model_len"] == 2048
    assert "tool_call_parser" not in config.engine_kwargs
    assert config.runtime_env == {"env_vars": experts[0].env}


def test_an_expert_on_gpus_asks_for_its_kind(repository):
    file = repository / "deployments/gpu.yaml"
    expert = settings_of(read_config(file), file).experts[0]
    config = processor_config(expert)
    assert config.accelerator_type == "L40S" and config.placement_group_config is None
    assert config.concurrency == expert.autoscaling.max_replicas


def test_the_reference_follows_the_prompt_that_is_asked(config):
    chat = [{"role": "user", "content": "Hi?"}]
    asked = request(row(chat), source=config.model_source, sampling=SAMPLING)
    likely = request(row(chat, "Hello"), source=config.model_source, sampling=SAMPLING)
    assert asked["sampling_params"] == likely["sampling_params"] == SAMPLING | {"max_tokens": 7}
    prefix = likely["prefix"]
    assert likely["tokenized_prompt"][:prefix] == asked["tokenized_prompt"]
    assert len(likely["tokenized_prompt"]) > prefix == asked["prefix"]


def test_a_chat_that_the_template_refuses_is_an_error_of_its_own(config):
    refused = request(row([{"role": "user"}]), source=config.model_source, sampling=SAMPLING)
    assert refused["__inference_error__"].startswith("chat template: ")


def test_the_likelihood_is_of_the_tokens_past_the_prompt():
    engine = {"generated_text": "x", "num_input_tokens": 3, "num_generated_tokens": 1}
    engine |= {"time_taken_llm": 0.5, "prefix": 2}
    logprobs = [None, {4: {"logprob": -9.0}}, {5: {"logprob": -1.0}}, {6: {"logprob": -2.0}}]
    assert (
        result({"id": "p", "reference": "a b", "prompt_logprobs": logprobs} | engine)["nll"] == 1.5
    )


def test_answers_and_likelihoods_meet_and_an_error_takes_both(monkeypatch, experts):
    columns = {"text": " yes ", "in_tokens": 3, "out_tokens": 1, "seconds": 0.5, "nll": 1.5}

    class FakeDataset:
        def __init__(self, rows, **_):
            self.rows = rows

        def iter_rows(self):
            for row in reversed(self.rows):
                error = "too long" if row["id"] == "long" else ""
                yield {**row, **columns, "__inference_error__": error}

    monkeypatch.setattr(ray_data, "build_processor", lambda *_, **__: lambda dataset: dataset)
    monkeypatch.setattr(ray_data.ray.data, "from_items", FakeDataset)
    chats = [Chat("a", [], "ref"), Chat("b", []), Chat("long", [], "ref")]
    said = {g.prompt: g for g in answers(experts[0], chats, 7, likelihood=True)}
    assert said["a"] == Generated("a", "yes", 3, 1, 0.5, 1.5)
    assert said["b"] == Generated("b", "yes", 3, 1, 0.5)
    assert said["long"] == Generated("long", error="too long")
