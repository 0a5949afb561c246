from __future__ import annotations

import json

import pytest

from serve.errors import TableError
from serve.offline.asking.prompts import read_prompts

LINE = {"id": "a-1", "task": "a", "split": "train", "prompt": "Hi?", "reference": "Hello"}


def written(tmp_path, *lines):
    file = tmp_path / "prompts.jsonl"
    file.write_text("\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines))
    return file


def test_a_prompt_and_a_chat_are_read(tmp_path):
    messages = [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Yes."}]
    chat = LINE | {"id": "a-2", "messages": [*messages, messages[0]]}
    del chat["prompt"]
    one, many = read_prompts(written(tmp_path, LINE, chat))
    assert one.messages == ({"role": "user", "content": "Hi?"},)
    assert one.text == "Hi?"
    assert many.text == "Hi?\nYes.\nHi?"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["{"], ":1: not JSON"),
        ([LINE, LINE], ":2: id 'a-1' is used twice"),
        ([LINE | {"split": "dev"}], ":1: split: .*'train' or 'test'"),
        ([LINE | {"messages": []}], ":1: .*exactly one of prompt and messages"),
        ([LINE | {"answer": "x"}], ":1: answer:"),
        ([{"id": "a"}], ":1: .*exactly one of prompt and messages"),
        ([{"prompt": "Hi?"}, {"prompt": "Hi?"}], ":2: the prompt has no id and was there.* line 1"),
        ([], "holds no prompt"),
    ],
)
def test_a_mistake_names_line_and_key(tmp_path, lines, message):
    with pytest.raises(TableError, match=message):
        read_prompts(written(tmp_path, *lines))


def test_train_and_test_prompts_are_apart(repository):
    prompts = read_prompts(repository / "deployments/local/prompts.jsonl")
    train = {prompt.text for prompt in prompts if prompt.split == "train"}
    test = {prompt.text for prompt in prompts if prompt.split == "test"}
    assert len(train) + len(test) == len(prompts)
    assert not train & test
    assert {p.task for p in prompts if p.split == "test"} == {p.task for p in prompts}


def test_all_but_the_prompt_is_optional(tmp_path):
    one, other = read_prompts(written(tmp_path, {"prompt": "Hi?"}, {"prompt": "Ho?\u2028"}))
    assert one.task is None and one.split is None and one.reference is None
    assert len(one.id) == 16 and one.id != other.id
    assert read_prompts(written(tmp_path, {"prompt": "Hi?", "task": "a"}))[0].id == one.id
