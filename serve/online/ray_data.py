"""Answers of one expert to many chats on Ray Data's vLLM processor: for a cluster, no HTTP between.

Prompts are templated and tokenised here, with the model's own chat template and nothing added, as
vLLM's server does it; Ray's tokenize stage would add a second BOS to some models' prompts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from typing import Any

import ray
from jinja2 import TemplateError
from ray.data.llm import build_processor, vLLMEngineProcessorConfig

from serve import weights
from serve.config import ExpertSettings
from serve.online.cluster import leave_dead_cluster
from serve.online.experts import engine_kwargs

BATCH = 32
"""Rows that come out together, and so reach a journal together."""


@dataclass(frozen=True)
class Chat:
    """What to ask, and the answer whose likelihood is wanted."""

    id: str
    messages: list[dict[str, Any]]
    reference: str | None = None


@dataclass(frozen=True)
class Generated:
    """An answer, or the error in its place; `seconds` is the time in the engine.

    `nll` is the mean negative log-likelihood of the reference, in nats per token.
    """

    prompt: str
    text: str | None = None
    in_tokens: int | None = None
    out_tokens: int | None = None
    seconds: float | None = None
    nll: float | None = None
    error: str | None = None


def answers(
    expert: ExpertSettings, chats: Sequence[Chat], max_tokens: int, *, likelihood: bool
) -> Iterator[Generated]:
    """Greedy answers, as their batches finish; the engines are gone when the last is taken.

    Args:
        expert: its model, engine arguments, accelerator and up to how many replicas.
        chats: to be answered.
        max_tokens: limit of one answer.
        likelihood: ask for that of the references, too.

    Raises:
        SettingsError, WeightsError: the expert cannot be started.
    """
    if not chats:
        return
    leave_dead_cluster()
    config = processor_config(expert)
    processor = build_processor(
        config,
        preprocess=partial(
            request, source=config.model_source, sampling=_greedy(expert, likelihood)
        ),
        postprocess=result,
        preprocess_map_kwargs={"num_cpus": 0.25},
        postprocess_map_kwargs={"num_cpus": 0.25},
    )
    rows = [_row(chat, max_tokens) for chat in chats]
    waiting = {chat.id for chat in chats if likelihood and chat.reference}
    rows += [_row(chat, 1, chat.reference) for chat in chats if chat.id in waiting]
    done: dict[str, Generated] = {}
    dataset = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // BATCH))
    for row in processor(dataset).iter_rows():
        name = row["id"]
        half = done.pop(name, Generated(name))
        half = _with_nll(half, row) if row["reference"] else _with_text(half, row)
        if name in waiting:
            waiting.discard(name)
            done[name] = half
        else:
            yield half if half.error is None else Generated(name, error=half.error)


def processor_config(expert: ExpertSettings) -> vLLMEngineProcessorConfig:
    """Ray Data LLM's own description of one expert.

    Raises:
        SettingsError: vLLM knows no such engine argument.
        WeightsError: the model's bytes are missing or not the pinned ones.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs

    # The others are of vLLM's server: parsers of tool calls and the like.
    known = {field.name for field in fields(AsyncEngineArgs)}
    hardware: dict[str, Any] = {"accelerator_type": expert.accelerator_type}
    if expert.accelerator_type is None:
        bundle = {"CPU": expert.cpus, **expert.resources}
        hardware = {"placement_group_config": {"bundles": [bundle]}}
    return vLLMEngineProcessorConfig(
        model_source=weights.resolve(expert.here),
        engine_kwargs={k: v for k, v in engine_kwargs(expert).items() if k in known},
        runtime_env={"env_vars": expert.env},
        batch_size=BATCH,
        concurrency=expert.autoscaling.max_replicas,
        should_continue_on_error=True,
        log_engine_metrics=False,
        chat_template_stage=False,
        tokenize_stage=False,
        detokenize_stage=False,
        **hardware,
    )


def request(row: dict[str, Any], *, source: str, sampling: Mapping[str, Any]) -> dict[str, Any]:
    """A row -> what the engine stage reads; `prefix` counts the tokens before the reference."""
    tokenizer = _tokenizer(source)
    messages = json.loads(row["messages"])
    try:
        tokens = prompt = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_dict=False
        )
        if row["reference"]:
            said = {"role": "assistant", "content": row["reference"]}
            tokens = tokenizer.apply_chat_template(
                [*messages, said], continue_final_message=True, return_dict=False
            )
    except (TemplateError, ValueError, TypeError) as error:
        return {**row, "__inference_error__": f"chat template: {error}"}
    return {
        **row,
        "tokenized_prompt": tokens,
        "sampling_params": {**sampling, "max_tokens": row["max_tokens"]},
        "prefix": len(prompt),
        "__inference_error__": "",
    }


def result(row: dict[str, Any]) -> dict[str, Any]:
    """What the engine stage wrote -> the columns that `answers` reads."""
    nll = float("nan")
    if row["reference"]:
        tokens = list(row["prompt_logprobs"])[row["prefix"] :]
        logprobs = [next(iter(token.values()))["logprob"] for token in tokens]
        nll = -sum(logprobs) / len(logprobs) if logprobs else nll
    return {
        "id": row["id"],
        "reference": row["reference"],
        "text": row["generated_text"],
        "in_tokens": row["num_input_tokens"],
        "out_tokens": row["num_generated_tokens"],
        "seconds": row["time_taken_llm"],
        "nll": nll,
    }


def _greedy(expert: ExpertSettings, likelihood: bool) -> dict[str, Any]:
    """What the gateway would add to a greedy request: the expert's defaults that still matter."""
    # In every row or in none: Arrow would make 0.0 of a 0 beside a None, and the engine hang on it.
    prompt_logprobs = {"prompt_logprobs": 0} if likelihood else {}
    return prompt_logprobs | {
        "temperature": 0.0,
        "stop": expert.defaults.stop,
        "repetition_penalty": expert.defaults.repetition_penalty or 1.0,
    }


def _row(chat: Chat, max_tokens: int, reference: str | None = None) -> dict[str, Any]:
    # As text: Arrow would give every message the keys of all the others.
    messages = json.dumps(chat.messages)
    return {
        "id": chat.id,
        "messages": messages,
        "reference": reference or "",
        "max_tokens": max_tokens,
    }


def _with_text(half: Generated, row: dict[str, Any]) -> Generated:
    if error := row["__inference_error__"]:
        return replace(half, error=" ".join(str(error).split())[:300])
    return replace(
        half,
        text=row["text"].strip(),
        in_tokens=int(row["in_tokens"]),
        out_tokens=int(row["out_tokens"]),
        seconds=round(float(row["seconds"]), 4),
    )


def _with_nll(half: Generated, row: dict[str, Any]) -> Generated:
    if row["__inference_error__"] or row["nll"] != row["nll"]:
        return half
    return replace(half, nll=round(float(row["nll"]), 6))


@cache
def _tokenizer(source: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(source)
