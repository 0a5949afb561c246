"""TO-Router's first phase: ask every expert every prompt, score the answers, write a table."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from openai import AsyncOpenAI
from tqdm import tqdm

from serve import weights
from serve.config import Settings
from serve.encoding.transformer import TransformerEncoder
from serve.offline.bertsim import bertsim, cosine
from serve.offline.prompts import Prompt, read_prompts
from serve.offline.table import RoutingTable


@dataclass(frozen=True)
class _Cell:
    """What one expert did with one prompt."""

    prompt: str
    expert: str
    answers: str
    in_tokens: int
    out_tokens: int
    latency_s: float


def prepare(
    prompts_file: Path,
    settings: Settings,
    out: Path,
    *,
    url: str,
    concurrency: int,
    max_tokens: int,
) -> RoutingTable:
    """Ask a running application, greedily, and write the table to `out`.

    Args:
        prompts_file: see offline/prompts.py.
        settings: names the experts, their prices and the encoder that scores.
        out: folder of the table.
        url: an OpenAI-compatible endpoint that serves every expert, with /v1.
        concurrency: requests under way at once.
        max_tokens: limit of one answer.
    """
    prompts = read_prompts(prompts_file)
    experts = [expert.id for expert in settings.experts]
    cells = asyncio.run(_ask_all(prompts, experts, url, concurrency, max_tokens))
    table = _table(prompts, settings, cells)
    table.meta["prompts"] = str(prompts_file)
    table.meta["max_tokens"] = max_tokens
    table.save(out)
    return table


async def _ask_all(
    prompts: list[Prompt], experts: list[str], url: str, concurrency: int, max_tokens: int
) -> list[_Cell]:
    client = AsyncOpenAI(base_url=url, api_key="none", max_retries=3, timeout=600)
    gate = asyncio.Semaphore(concurrency)

    async def ask(prompt: Prompt, expert: str) -> _Cell:
        async with gate:
            started = time.perf_counter()
            answer = await client.chat.completions.create(
                model=expert,
                messages=list(prompt.messages),  # type: ignore[arg-type]
                temperature=0,
                max_tokens=max_tokens,
            )
            seconds = time.perf_counter() - started
        assert answer.usage is not None
        return _Cell(
            prompt.id,
            expert,
            (answer.choices[0].message.content or "").strip(),
            answer.usage.prompt_tokens,
            answer.usage.completion_tokens,
            round(seconds, 3),
        )

    tasks = [asyncio.create_task(ask(p, e)) for p in prompts for e in experts]
    with tqdm(total=len(tasks), desc="Asking", unit="answer") as bar:
        for task in asyncio.as_completed(tasks):
            await task
            bar.update()
    return [task.result() for task in tasks]


def _table(prompts: list[Prompt], settings: Settings, cells: list[_Cell]) -> RoutingTable:
    frame = pd.DataFrame([vars(cell) for cell in cells])
    references = {prompt.id: prompt.reference for prompt in prompts}
    folder = weights.folder(settings.router.encoder)
    said, meant = frame["answers"].tolist(), [references[p] for p in frame["prompt"]]
    frame["bertsim"] = bertsim(said, meant, folder)
    frame["cosine"] = cosine(said, meant, TransformerEncoder(folder))
    prices = {expert.id: expert.as_expert() for expert in settings.experts}
    frame["cost_usd"] = [
        prices[e].cost_usd(i, o)
        for e, i, o in zip(frame["expert"], frame["in_tokens"], frame["out_tokens"], strict=True)
    ]
    order = [prompt.id for prompt in prompts]
    columns = [expert.id for expert in settings.experts]

    def tensor(column: str) -> pd.DataFrame:
        wide = frame.pivot(index="prompt", columns="expert", values=column)
        return wide.loc[order, columns].rename_axis(index="prompt_id", columns=None)

    stems = ("cost_usd", "in_tokens", "out_tokens", "latency_s", "bertsim", "cosine", "answers")
    tensors = {stem: tensor(stem) for stem in stems}
    return RoutingTable(_prompt_frame(prompts), tensors["bertsim"], tensors, _meta(settings))


def _prompt_frame(prompts: list[Prompt]) -> pd.DataFrame:
    rows: list[dict[str, Any]] = [
        {
            "prompt_id": prompt.id,
            "task": prompt.task,
            "split": prompt.split,
            "prompt": prompt.text,
            "messages": json.dumps(prompt.messages, ensure_ascii=False),
            "answer": prompt.reference,
        }
        for prompt in prompts
    ]
    return pd.DataFrame(rows).set_index("prompt_id")


def _meta(settings: Settings) -> dict[str, Any]:
    return {
        "source": "pointsman prepare",
        "quality": "bertsim: BERTScore F1 against the reference",
        "prices_usd_per_million_tokens": {
            expert.id: expert.price.model_dump() for expert in settings.experts
        },
    }
