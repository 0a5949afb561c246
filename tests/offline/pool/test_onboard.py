"""`pointsman onboard` and `retire` from files to files, over HTTP with an expert played back."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import nullcontext

import numpy as np
import pytest

from loadtest.playback import FakeExpert, Recorded
from serve.cli import main
from serve.errors import ArtifactError, SettingsError, TableError
from serve.offline.asking.ask import Endpoint
from serve.offline.pool.onboard import Asking, onboard, read_expert
from serve.offline.pool.retire import retire
from serve.routing import artifact
from tests.offline.pool.pools import learned, table_with_answers


def at(url):
    return nullcontext(Endpoint(url))


NOWHERE = Asking(at("http://127.0.0.1:9/v1"))
NEW = "id: new\nmodel: some/model\nprice: {input: 2.0, output: 2.0}\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    learned(out, table_with_answers())
    return out


@pytest.fixture
def new(tmp_path):
    file = tmp_path / "new.yaml"
    file.write_text(NEW)
    return file


def recorded(fails=()):
    """What `new` answers: as the table grades it, and nothing to some prompts."""
    made = table_with_answers()
    return {
        text: Recorded(None if i in fails else "yes" if right else "no", 100, 60)
        for i, (text, right) in enumerate(zip(made.texts, made.quality["new"], strict=True))
    }


def test_the_probes_are_asked_and_nothing_else(trained, new, tmp_path):
    with FakeExpert(recorded()) as fake:
        printed = onboard(new, trained, tmp_path / "b", Asking(at(fake.url), probes=100))
    probes = table_of(trained).prompts["prompt"]
    assert sorted(fake.asked) == sorted(probes[:100])
    after = artifact.load(tmp_path / "b")
    assert after.predictor.experts == ("cheap", "mid", "dear", "new")
    before = artifact.load(trained)
    assert (after.table, after.encoder, after.name) == (before.table, before.encoder, before.name)
    manifest = json.loads((tmp_path / "b/manifest.json").read_text())
    assert manifest["trained"] == {"onboarded": "new", "probes": 100, "from": before.label}
    after.require(experts=["new", "cheap", "mid", "dear"], encoder=after.encoder, where="x")
    measured = table_of(tmp_path / "b").quality["new"]
    want = table_with_answers().quality["new"].loc[measured.index[:100]]
    np.testing.assert_array_equal(measured[:100], want)
    assert measured[100:].isna().all()
    for word in ("history", "share", "decides", after.label, f"artifact: {tmp_path / 'b'}"):
        assert word in printed, printed
    assert [line.split()[0] for line in printed.splitlines() if " ± " in line][-3:] == [
        "25",
        "50",
        "100",
    ]


def table_of(folder):
    from serve.offline.table import RoutingTable

    return RoutingTable.load(folder / "probes")


def test_prompts_that_failed_are_left_out(trained, new, tmp_path):
    with FakeExpert(recorded(fails=range(0, 300, 4))) as fake:
        printed = onboard(new, trained, tmp_path / "b", Asking(at(fake.url), probes=120))
    answered = table_of(tmp_path / "b").quality["new"].notna()
    gone = {f"p{i}" for i in range(0, 300, 4)}
    assert {name for name, said in answered.items() if not said} == gone & set(answered.index)
    assert f"new: {answered.sum()} answers" in printed


def test_too_few_answers_are_refused_with_the_reason(trained, new, tmp_path):
    with (
        FakeExpert(recorded(fails=range(280))) as fake,
        pytest.raises(SettingsError, match=r"new: \d+ of 100 probes answered, .* not recorded"),
    ):
        onboard(new, trained, tmp_path / "b", Asking(at(fake.url), probes=100))
    assert not (tmp_path / "b").exists()


def test_what_cannot_be_onboarded_is_refused_in_one_line(trained, new, tmp_path):
    new.write_text(NEW.replace("id: new", "id: mid"))
    with pytest.raises(SettingsError, match="an expert 'mid' already"):
        onboard(new, trained, tmp_path / "b", NOWHERE)
    new.write_text(NEW + "colour: red\n")
    with pytest.raises(SettingsError, match="colour"):
        onboard(new, trained, tmp_path / "b", NOWHERE)
    with pytest.raises(SettingsError, match="No such file"):
        read_expert(tmp_path / "nothing.yaml")


def test_a_closed_router_names_the_open_ones(new, tmp_path):
    learned(tmp_path / "a", table_with_answers(), router="to_knn")
    with pytest.raises(
        ArtifactError, match="to_knn router cannot change.*default, stack, task_map"
    ):
        onboard(new, tmp_path / "a", tmp_path / "b", NOWHERE)


def test_an_artifact_of_an_older_version_says_to_train_again(trained, new, tmp_path):
    learned(tmp_path / "a", table_with_answers(), probes=0)
    with pytest.raises(ArtifactError, match="train it again with this version"):
        onboard(new, tmp_path / "a", tmp_path / "b", NOWHERE)


def test_a_table_without_grader_or_references_says_so(new, tmp_path):
    made = table_with_answers()
    del made.meta["grader"]
    learned(tmp_path / "a", made)
    with FakeExpert(recorded()) as fake:
        with pytest.raises(SettingsError, match="--grader: the training table does not say"):
            onboard(new, tmp_path / "a", tmp_path / "b", Asking(at(fake.url)))
        onboard(new, tmp_path / "a", tmp_path / "b", Asking(at(fake.url), grader="exact"))
    bare = table_with_answers()
    del bare.prompts["answer"]
    learned(tmp_path / "c", bare)
    with pytest.raises(TableError, match="no column answer"):
        onboard(new, tmp_path / "c", tmp_path / "d", NOWHERE)


def test_onboard_and_retire_by_the_command(trained, new, tmp_path, monkeypatch, capsys):
    def pointsman(*words):
        monkeypatch.setattr(sys, "argv", ["pointsman", *map(str, words)])
        main()
        return capsys.readouterr().out

    with FakeExpert(recorded()) as fake:
        words = ("--expert", new, "--artifact", trained, "--out", tmp_path / "b")
        printed = pointsman("onboard", *words, "--url", fake.url, "--probe", 60, "--lambda", 100)
    assert "lambda 100" in printed
    printed = pointsman("retire", "new", "--artifact", tmp_path / "b", "--out", tmp_path / "c")
    back = artifact.load(tmp_path / "c")
    assert back.predictor.experts == ("cheap", "mid", "dear") and back.label in printed
    vectors = np.eye(8, dtype=np.float32)
    np.testing.assert_array_equal(
        back.predictor.predict(vectors).quality,
        artifact.load(trained).predictor.predict(vectors).quality,
    )


def test_a_stranger_and_the_last_two_are_not_retired(trained, tmp_path):
    with pytest.raises(SettingsError, match="no expert 'new'; there are: cheap, mid, dear"):
        retire("new", trained, tmp_path / "b")
    shutil.copytree(trained, tmp_path / "a")
    retire("mid", tmp_path / "a", tmp_path / "a")  # in place
    with pytest.raises(SettingsError, match="cheap and dear are the last two"):
        retire("dear", tmp_path / "a", tmp_path / "b")
