from __future__ import annotations

import pytest
import yaml

from serve import keys
from serve.cli import main
from serve.config import AccessSettings


def typed(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["pointsman", "key", *words])
    main()


def test_the_key_is_on_stdout_alone_and_its_entry_fits_the_settings(monkeypatch, capsys):
    typed(monkeypatch, "alice", "--admin")
    out, err = capsys.readouterr()
    key = out.strip()
    assert key.startswith("pm-") and out.count("\n") == 1 and key not in err
    entry = yaml.safe_load(err.split("access.file:\n")[1])
    access = AccessSettings(keys=entry)
    assert access.keys[0].name == "alice" and access.keys[0].admin
    assert access.keys[0].sha256 == keys.hashed(key.encode())


def test_a_name_that_the_settings_would_refuse_makes_no_key(monkeypatch, capsys):
    with pytest.raises(SystemExit, match="2"):
        typed(monkeypatch, "a|b")
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("pointsman: key: keys.0.name: ")
