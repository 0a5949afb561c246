from __future__ import annotations

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest

from loadtest.users.workload import TURNS, Conversation, Workload
from serve.errors import TableError
from serve.offline.table import RoutingTable

SHIPPED = Path("deployments/local")


@pytest.fixture(scope="module")
def workload():
    return Workload.read(SHIPPED / "prompts.jsonl", SHIPPED / "table")


def test_lengths_are_those_of_real_answers(workload):
    answers = RoutingTable.load(SHIPPED / "table").tensors["out_tokens"].to_numpy()
    drawn = [workload.draw(Random(i)).max_tokens for i in range(4000)]
    assert set(drawn) <= set(answers.ravel())
    assert np.mean(drawn) == pytest.approx(answers.mean(), rel=0.1)


def test_prompts_of_every_task_are_drawn_as_they_stand_in_the_file(workload):
    lines = [json.loads(line) for line in (SHIPPED / "prompts.jsonl").open()]
    questions = [workload.draw(Random(i)) for i in range(1000)]
    assert {question.task for question in questions} == {line["task"] for line in lines}
    asked = {
        line["messages"][-1]["content"] if "messages" in line else line["prompt"] for line in lines
    }
    assert {question.messages[-1]["content"] for question in questions} <= asked
    assert {question.session for question in questions} == {None}


def test_the_same_seed_draws_the_same(workload):
    assert workload.draw(Random(3)) == workload.draw(Random(3))


def test_a_conversation_keeps_what_was_said_and_its_session(workload):
    conversation = Conversation(workload, Random(1))
    before, turns = [], []
    while not conversation.over:
        question = conversation.ask()
        assert list(question.messages[: len(before)]) == before
        assert question.messages[-1]["role"] == "user"
        conversation.answered(f"answer {question.turn}")
        before = [*question.messages, {"role": "assistant", "content": f"answer {question.turn}"}]
        turns.append(question)
    assert TURNS[0] <= len(turns) <= TURNS[1]
    assert [question.turn for question in turns] == list(range(1, len(turns) + 1))
    assert len({question.task for question in turns}) == 1
    (session,) = {question.session for question in turns}
    assert session != Conversation(workload, Random(1)).ask().session


def test_a_table_without_tokens_is_named(tmp_path):
    table = RoutingTable.load(SHIPPED / "table")
    RoutingTable(table.prompts, table.quality, {}, table.meta).save(tmp_path)
    with pytest.raises(TableError, match="has no out_tokens.parquet"):
        Workload.read(SHIPPED / "prompts.jsonl", tmp_path)
