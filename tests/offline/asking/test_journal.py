from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.errors import TableError
from serve.offline.asking.ask import Answer
from serve.offline.asking.journal import Journal

RUN = {"prompts": "abc", "model of good": "m1", "max_tokens": 96}
some_text = st.text(max_size=30)
maybe = st.none() | st.floats(0, 1e6)
answers = st.builds(
    Answer,
    prompt=some_text,
    expert=some_text,
    text=st.none() | some_text,
    in_tokens=st.none() | st.integers(0, 10**6),
    ttft_s=maybe,
    nll=maybe,
    error=st.none() | some_text,
)


def written(file, given, run=RUN):
    with Journal(file, run) as journal:
        for answer in given:
            journal.add(answer)


def read(file):
    with Journal(file, RUN) as journal:
        return journal.answers


@given(given=st.lists(answers, max_size=6), cut=st.floats(0, 1))
def test_torn_anywhere_it_keeps_every_whole_line_and_goes_on(given, cut):
    with TemporaryDirectory() as folder:
        file = Path(folder) / "journal.jsonl"
        written(file, given)
        text = file.read_bytes()
        torn = text[: round(cut * len(text))]
        file.write_bytes(torn)
        whole = max(0, torn.count(b"\n") - 1)
        latest = {(a.prompt, a.expert): a for a in given[:whole]}
        assert read(file) == list(latest.values())
        more = Answer("one", "more", text="yes")
        written(file, [more])
        assert {(a.prompt, a.expert): a for a in read(file)} == latest | {("one", "more"): more}


def test_a_failure_is_not_finished_and_its_later_answer_counts(tmp_path):
    with Journal(tmp_path / "table" / "journal.jsonl", RUN) as journal:
        journal.add(Answer("p", "good", error="HTTP 500"))
        assert not journal.finished("p", "good")
        journal.add(Answer("p", "good", text=""))
        assert journal.finished("p", "good")
        assert journal.answers == [Answer("p", "good", text="")]


def test_an_answer_is_on_disk_when_add_returns(tmp_path):
    file = tmp_path / "journal.jsonl"
    with Journal(file, RUN) as journal:
        journal.add(Answer("p", "good", text="a\nb\u2028c"))
        assert json.loads(file.read_bytes().splitlines()[-1])["text"] == "a\nb\u2028c"


def test_another_run_is_refused_with_the_way_out(tmp_path):
    file = tmp_path / "journal.jsonl"
    written(file, [])
    with pytest.raises(TableError, match="max_tokens was 96 and is now 128; name another folder"):
        Journal(file, RUN | {"max_tokens": 128})


def test_a_run_may_grow_and_is_pinned_as_it_has_grown(tmp_path):
    file = tmp_path / "journal.jsonl"
    written(file, [Answer("p", "good", text="x")])
    written(file, [Answer("p", "new", text="y")], RUN | {"model of new": "m2"})
    assert [a.expert for a in read(file)] == ["good", "new"]
    with pytest.raises(TableError, match="model of new was 'm2' and is now 'm3'"):
        Journal(file, RUN | {"model of new": "m3"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not a journal\n", "is not a journal"),
        ("[1]\n", "is not a journal"),
        (json.dumps({"run": RUN}) + "\n{}\n", ":2 is not an answer"),
    ],
)
def test_another_file_is_refused(tmp_path, text, message):
    file = tmp_path / "journal.jsonl"
    file.write_text(text)
    with pytest.raises(TableError, match=message):
        Journal(file, RUN)
    assert file.read_text() == text


def test_a_second_run_at_the_same_time_is_refused(tmp_path):
    with Journal(tmp_path / "journal.jsonl", RUN), pytest.raises(TableError, match="is in use"):
        Journal(tmp_path / "journal.jsonl", RUN)
