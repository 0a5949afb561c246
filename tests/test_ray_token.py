from __future__ import annotations

import pytest

from serve.ray_token import send_token


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


def mode():
    import os

    return os.environ.get("RAY_AUTH_MODE")


def test_without_a_token_nothing_changes():
    send_token()
    assert mode() is None


def test_a_token_that_is_at_hand_is_sent(tmp_path):
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("x")
    send_token()
    assert mode() == "token"


def test_what_the_environment_says_stands(environment):
    environment.setenv("RAY_AUTH_TOKEN", "x")
    environment.setenv("RAY_AUTH_MODE", "disabled")
    send_token()
    assert mode() == "disabled"
