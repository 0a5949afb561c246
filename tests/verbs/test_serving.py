from __future__ import annotations

import argparse
import json

import pytest

from serve.config import parse_settings
from serve.errors import SettingsError
from serve.verbs.serving import _logged


def settings(log=None):
    experts = [{"id": "a", "model": "org/model"}]
    records = {"log": str(log)} if log else {}
    return parse_settings({"experts": experts, "router": {}, "records": records}, "f.yaml")


def asked(log=None, last=5):
    return argparse.Namespace(log=log, last=last)


@pytest.fixture
def silent(tmp_path):
    """A log that kept no prompts."""
    file = tmp_path / "requests.jsonl"
    file.write_text(json.dumps({"model": "auto", "request_id": "1"}) + "\n")
    return file


def test_an_application_that_kept_no_prompts_can_be_promoted_all_the_same(silent, capsys):
    assert _logged(asked(), settings(silent)) == []
    assert "Nothing to replay: " in (said := capsys.readouterr().out)
    assert "records.prompts: true" in said


def test_nor_one_that_keeps_no_log_or_has_not_written_it_yet(tmp_path, capsys):
    assert _logged(asked(), settings()) == []
    assert "(records.log)" in capsys.readouterr().out
    assert _logged(asked(), settings(tmp_path / "none.jsonl")) == []
    assert "no request log here" in capsys.readouterr().out


def test_a_log_that_was_named_must_be_of_use(silent):
    with pytest.raises(SettingsError, match="records.prompts: true"):
        _logged(asked(silent), settings())


def test_nothing_is_said_where_nothing_is_to_be_replayed(silent, capsys):
    assert _logged(asked(silent, last=0), settings(silent)) == []
    assert capsys.readouterr().out == ""
