from __future__ import annotations

import pytest

from serve.cli import main


@pytest.fixture
def typed(monkeypatch, capsys, repository):
    """The pointsman command in the repository: its exit status, what it prints and complains of."""
    monkeypatch.chdir(repository)

    def run(*words):
        monkeypatch.setattr("sys.argv", ["pointsman", *map(str, words)])
        try:
            main()
            status = 0
        except SystemExit as ended:
            status = ended.code
        return status, *capsys.readouterr()

    return run
