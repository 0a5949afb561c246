"""What users ask: prompts of a file, with limits on the answers as long as real answers were."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from serve.errors import TableError
from serve.offline.asking.prompts import Prompt, read_prompts
from serve.offline.table import RoutingTable

TURNS = (2, 5)
"""Fewest and most of a conversation; five of the shipped prompts and answers fit 2,048 tokens."""


@dataclass(frozen=True)
class Question:
    """One request.

    Attributes:
        messages: OpenAI's chat messages.
        max_tokens: limit of the answer.
        task: the prompt's, where its file says.
        session: goes into x-session-id; None: a question by itself.
        turn: of the session, from 1.
    """

    messages: Sequence[dict[str, Any]]
    max_tokens: int
    task: str | None = None
    session: str | None = None
    turn: int = 1


@dataclass(frozen=True)
class Workload:
    """Prompts and, drawn independently of them, lengths of answers in tokens."""

    prompts: Sequence[Prompt]
    lengths: Sequence[int]

    @classmethod
    def read(cls, prompts: Path, table: Path) -> Workload:
        """From a prompt file and a routing table's out_tokens.

        Raises:
            TableError: one of them cannot be read, or the table has no such tokens.
        """
        tensors = RoutingTable.load(table).tensors
        if "out_tokens" not in tensors:
            raise TableError(f"{table} has no out_tokens.parquet to draw lengths from")
        measured = tensors["out_tokens"].to_numpy().ravel()
        return cls(read_prompts(prompts), measured[measured >= 1].astype(int).tolist())

    def draw(self, rng: Random) -> Question:
        """A question by itself."""
        prompt = rng.choice(self.prompts)
        return Question(prompt.messages, rng.choice(self.lengths), prompt.task)


class Conversation:
    """Prompts of one task, one after another; what was said before goes along with each."""

    def __init__(self, workload: Workload, rng: Random) -> None:
        first = rng.choice(workload.prompts)
        alike = [prompt for prompt in workload.prompts if prompt.task == first.task]
        later = rng.choices(alike, k=rng.randint(*TURNS) - 1)
        self._left = [list(first.messages), *([prompt.messages[-1]] for prompt in later)]
        self._said: list[dict[str, Any]] = []
        self._turn = 0
        self._task = first.task
        self._workload, self._rng = workload, rng
        # Not from the seed: a second run must not find the first one's sessions at the endpoint.
        self._id = f"load-{uuid.uuid4()}"

    @property
    def over(self) -> bool:
        """Whether no turn is left."""
        return not self._left

    def ask(self) -> Question:
        """The next turn."""
        self._said += self._left.pop(0)
        self._turn += 1
        limit = self._rng.choice(self._workload.lengths)
        return Question(tuple(self._said), limit, self._task, self._id, self._turn)

    def answered(self, text: str) -> None:
        """Keep an answer for the turns to come."""
        self._said.append({"role": "assistant", "content": text})
