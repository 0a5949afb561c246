"""How prepare asks: over HTTP, or on Ray Data; where offline's words meet online's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import yaml

from serve import keys
from serve.config import Settings
from serve.offline.asking.application import of_one_expert, running
from serve.offline.asking.ask import Answer, Endpoint, Limits, ask_all
from serve.offline.asking.prepare import Ask, Jobs
from serve.settings_file import read_config


def over_http(file: Path, url: str | None) -> Ask:
    """Of the endpoint at `url`, or else of an application of these settings, started for it."""

    def ask(jobs: Jobs, limits: Limits, keep: Callable[[Answer], None]) -> None:
        with _at(url) if url else running(read_config(file), file.name) as endpoint:
            ask_all(jobs, endpoint, limits, keep)

    return ask


@contextmanager
def served_expert(file: Path, url: str | None) -> Iterator[Endpoint]:
    """The endpoint at `url`, or else of an application of this one expert, started on entry.

    Args:
        file: the expert, as one of `experts` in a settings file.
        url: with /v1.
    """
    alone = running(of_one_expert(yaml.safe_load(file.read_text())), file.name)
    with _at(url) if url else alone as endpoint:
        yield endpoint


def _at(url: str) -> AbstractContextManager[Endpoint]:
    return nullcontext(Endpoint(url, os.environ.get(keys.VARIABLE, "none")))


def on_ray_data(settings: Settings) -> Ask:
    """Of vLLM engines that Ray Data starts, one expert after another; the
    time to the first token is not known."""

    def ask(jobs: Jobs, limits: Limits, keep: Callable[[Answer], None]) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        from serve.online.ray_data import Chat, answers

        for expert in settings.experts:
            chats = [
                Chat(prompt.id, list(prompt.messages), prompt.reference)
                for prompt, name in jobs
                if name == expert.id
            ]
            for said in answers(expert, chats, limits.max_tokens, likelihood=limits.likelihood):
                keep(
                    Answer(
                        said.prompt,
                        expert.id,
                        text=said.text,
                        in_tokens=said.in_tokens,
                        out_tokens=said.out_tokens,
                        latency_s=said.seconds,
                        nll=said.nll,
                        error=said.error,
                    )
                )

    return ask
