"""The verb as a person types it."""

from __future__ import annotations

import json
from functools import partial

import pytest
import yaml

from tests.explain.records import ANSWER, record


@pytest.fixture
def explain(typed):
    """Type its words; see typed."""
    return partial(typed, "explain")


@pytest.fixture
def log(tmp_path):
    file = tmp_path / "requests.jsonl"
    lines = [
        record([0.5, 0.7], [0.1, 0.4], key="the first", **ANSWER),
        record([0.5, 0.7], [0.1, 0.4], key="the last", **ANSWER),
        record([0.5, 0.7], [0.1, 0.4], request_id="other", **ANSWER),
    ]
    file.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    return file


def settings(repository, tmp_path, log):
    config = yaml.safe_load((repository / "deployments/local.yaml").read_text())
    config["applications"][0]["args"]["records"]["log"] = log
    file = tmp_path / "own.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


def test_of_several_the_last_is_told(explain, log):
    status, out, err = explain("r1", "--log", log)
    assert (status, err) == (0, "")
    assert "Asked by the last for auto" in out and "What would have put another first" in out


def test_the_settings_know_the_log(explain, log, repository, tmp_path):
    file = settings(repository, tmp_path, str(log))
    assert explain("other", "--experts", file)[0] == 0


def test_by_default_it_is_the_local_deployments(explain, log, monkeypatch, tmp_path):
    home = tmp_path / ".local/state/pointsman"
    home.mkdir(parents=True)
    log.rename(home / "requests.jsonl")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert explain("other")[0] == 0


def test_a_machine_gets_the_record_and_the_numbers(explain, log):
    status, out, _ = explain("r1", "--log", log, "--json")
    told = json.loads(out)
    assert status == 0 and told["record"]["key"] == "the last"
    assert told["why"]["changes"]["e1"]["quality"] == pytest.approx(0.8)


def test_an_unknown_request_is_one_line_that_says_what_was_read(explain, log):
    status, out, err = explain("r2", "--log", log)
    assert (status, out) == (2, "")
    assert err.startswith(f"pointsman: {log}: no request r2 in its 3 lines")
    assert err.count("\n") == 1


def test_a_log_that_is_not_there_or_not_kept_names_the_way_out(explain, log, repository, tmp_path):
    status, _, err = explain("r1", "--log", tmp_path / "none")
    assert status == 2 and "no request log here (No such file" in err
    status, _, err = explain("r1", "--experts", settings(repository, tmp_path, None))
    assert status == 2 and "records.log is not set" in err and err.count("\n") == 1
