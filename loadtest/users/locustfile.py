"""Locust's side of a load: users, the shape, the rows of its report, a raw sample a request.

    .venv/bin/python -m loadtest.load        # runs this headless and judges it
    .venv/bin/python -m locust -f loadtest/users/locustfile.py --host http://127.0.0.1:8000/v1

Importing locust patches the standard library for gevent, so nothing else imports this file.
"""

# Locust's own functions lack some types.
# mypy: disable-error-code="no-untyped-call, untyped-decorator"

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from random import Random
from typing import Any, ClassVar, TextIO

from locust import LoadTestShape, User, events, task
from locust.exception import StopUser
from openai import OpenAI
from openai.resources.chat import Completions

from loadtest.report import objectives, samples
from loadtest.users import options
from loadtest.users.chat import TIMEOUT_S, Exchange
from loadtest.users.schedule import Stage, plan, users_at
from loadtest.users.workload import Conversation, Question, Workload

AT_ONCE = 100.0
"""Users a second: a stage begins with all of its users."""


class ChatShape(LoadTestShape):
    """As many users as --shape and --levels say."""

    stages: ClassVar[Sequence[Stage]]

    def tick(self) -> tuple[int, float] | None:
        """Users wanted now, or None at the end."""
        users = users_at(self.stages, self.get_run_time())
        return None if users is None else (users, AT_ONCE)


class ChatUser(User):
    """Asks, waits for the whole answer, and asks again."""

    abstract = True
    chats: ClassVar[Completions]
    workload: ClassVar[Workload]
    wanted: ClassVar[objectives.Objectives]
    file: ClassVar[TextIO]
    shape: ClassVar[ChatShape]
    model: ClassVar[str]
    seeds: ClassVar[Random]
    row: ClassVar[str]

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.rng = Random(self.seeds.random())

    def exchange(self, question: Question) -> Exchange:
        """Ask and keep what came of it, also where Locust ends this user before the answer does."""
        sent_s = self.shape.get_run_time()
        # Locust looks at the shape once a second; nothing is to begin after its end.
        if users_at(self.shape.stages, sent_s) is None:
            raise StopUser
        exchange = Exchange(question, self.wanted.prices, sent_s=sent_s)
        try:
            exchange.run(self.chats, self.model)
        finally:
            self._keep(exchange.sample(), exchange.text)
        return exchange

    def _keep(self, sample: samples.Sample, text: str) -> None:
        samples.write(sample, self.file)
        self.environment.events.request.fire(
            request_type="POST",
            name=self.row,
            response_time=1000 * sample.e2e_s,
            response_length=len(text.encode()),
            exception=RuntimeError(sample.error) if sample.error else None,
            context={},
        )
        if sample.error is None:
            self._metric("ttft ms", sample.ttft_s, 1e3)
            self._metric("tpot ms", sample.tpot_s, 1e3)
            self._metric("tokens/s", sample.output_tokens / sample.e2e_s)
            self._metric("usd x 1e-9", sample.cost_usd, 1e9)

    def _metric(self, name: str, value: float | None, unit: float = 1.0) -> None:
        """A row of its own, past the request event: that would mix it into Aggregated."""
        if value is not None:
            self.environment.stats.get(name, "METRIC").log(unit * value, 0)


class SingleQuestions(ChatUser):
    """A question by itself, of any task, again and again."""

    row = "/chat/completions, single"

    @task
    def question(self) -> None:
        """One request."""
        self.exchange(self.workload.draw(self.rng))


class Conversations(ChatUser):
    """Sessions of several turns; one that fails is given up."""

    row = "/chat/completions, session"

    def on_start(self) -> None:
        """The first session."""
        self.conversation = Conversation(self.workload, self.rng)

    @task
    def turn(self) -> None:
        """One request: a turn, not a session, since Locust waits for a task's end."""
        if self.conversation.over:
            self.conversation = Conversation(self.workload, self.rng)
        exchange = self.exchange(self.conversation.ask())
        if exchange.sample().error is None:
            self.conversation.answered(exchange.text)
        else:
            self.conversation = Conversation(self.workload, self.rng)


@events.init_command_line_parser.add_listener
def _options(parser: argparse.ArgumentParser) -> None:
    options.add(parser)


@events.init.add_listener
def _prepare(environment: Any, **_: Any) -> None:
    asked = environment.parsed_options
    options.check_url(asked.host, asked.anywhere)
    key = os.environ.get("LOADTEST_API_KEY", "none")
    client = OpenAI(base_url=asked.host, api_key=key, max_retries=0, timeout=TIMEOUT_S)
    ChatUser.chats = client.chat.completions
    ChatUser.workload = Workload.read(asked.prompts, asked.lengths)
    ChatUser.wanted = objectives.read(asked.objectives)
    ChatUser.model, ChatUser.seeds = asked.model, Random(asked.seed)
    # The first call of a client, and of an endpoint, is slow: one that does not count.
    question = ChatUser.workload.draw(Random(asked.seed))
    Exchange(question, {}, sent_s=0.0).run(ChatUser.chats, asked.model)
    asked.out.mkdir(parents=True, exist_ok=True)
    ChatUser.file = (asked.out / "samples.jsonl").open("w")
    ChatShape.stages = plan(asked.shape, asked.levels, 60 * asked.minutes)
    ChatUser.shape = environment.shape_class
    weights = {Conversations: asked.sessions, SingleQuestions: 1 - asked.sessions}
    for user, weight in weights.items():
        user.weight = weight
    environment.user_classes = [user for user, weight in weights.items() if weight > 0]
