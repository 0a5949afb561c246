"""How prepare asks: over HTTP, or on Ray Data; where offline's words meet online's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from serve.config import Settings
from serve.offline.ask import Answer, Endpoint, Limits, ask_all
from serve.offline.prepare import Ask, Jobs

API_KEY = "POINTSMAN_API_KEY"
"""Environment variable with the key of the endpoint that --url names."""


def over_http(file: Path, url: str | None) -> Ask:
    """Of the endpoint at `url`, or else of an application of these settings, started for it."""

    def ask(jobs: Jobs, limits: Limits, keep: Callable[[Answer], None]) -> None:
        if url is not None:
            ask_all(jobs, Endpoint(url, os.environ.get(API_KEY, "none")), limits, keep)
            return
        from serve.offline.application import running

        with running(file) as endpoint:
            ask_all(jobs, endpoint, limits, keep)

    return ask


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
