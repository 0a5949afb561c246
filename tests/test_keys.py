from __future__ import annotations

import itertools
import json

import pytest
import yaml

from serve import keys
from serve.config import Settings, parse_settings
from serve.errors import SettingsError

KEY = keys.make()
ALICE = {"name": "alice", "sha256": keys.hashed(KEY.encode())}
BOB = {"name": "bob", "sha256": "0" * 64}


def settings(**access) -> Settings:
    experts = [{"id": "small", "model": "org/model"}]
    return parse_settings({"experts": experts, "router": {}, "access": access}, "f.yaml")


def refused(**access) -> str:
    with pytest.raises(SettingsError) as caught:
        keys.load(settings(**access))
    line = str(caught.value)
    assert "\n" not in line and KEY not in line
    return line


def test_a_made_key_is_random_marked_and_known_by_its_hash():
    assert KEY.startswith("pm-") and len(KEY) == 46 and keys.make() != KEY
    assert keys.hashed(b"abc").startswith("ba7816bf")


def test_without_a_word_about_access_there_are_no_keys():
    assert settings().access.open and keys.load(settings()) == []


@pytest.mark.parametrize("form", [yaml.safe_dump, json.dumps])
@pytest.mark.parametrize("wrap", [lambda entries: entries, lambda entries: {"keys": entries}])
def test_keys_of_the_settings_and_of_their_file_are_one_list(tmp_path, form, wrap):
    file = tmp_path / "keys"
    file.write_text(form(wrap([BOB | {"allow": ["small"], "usd_per_day": 2}])))
    found = keys.load(settings(keys=[ALICE], file=str(file)))
    assert [key.name for key in found] == ["alice", "bob"]
    assert found[1].usd_per_day == 2


def test_the_file_may_be_in_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "k.yaml").write_text(yaml.safe_dump([BOB]))
    assert keys.load(settings(file="~/k.yaml"))[0].name == "bob"


@pytest.mark.parametrize(
    ("access", "told"),
    [
        ({"keys": [ALICE, ALICE | {"name": "c"}]}, "access: alice and c are the same key"),
        ({"keys": [ALICE, BOB | {"name": "alice"}]}, "access: names of keys must be distinct"),
        ({"keys": [ALICE | {"name": "local"}]}, "may not be called 'local'"),
        ({"keys": [ALICE | {"allow": ["large"]}]}, "alice allows 'large', which is no expert"),
        ({"keys": [ALICE | {"allow": []}]}, "access.keys.0.allow: "),
        ({"keys": [ALICE | {"limit": 1}]}, "unknown key; allowed here: name, sha256, admin"),
        ({"keys": [ALICE | {"requests_per_minute": 0}]}, "access.keys.0.requests_per_minute: "),
        ({"keys": [{"name": "alice", "sha256": KEY}]}, "access.keys.0.sha256: String should match"),
        ({"keys": [KEY]}, "access.keys.0: "),
        ({"keys": KEY}, "access.keys: "),
        ({"redis": "redis://:secret@host"}, "access.redis: String should match"),
        ({"readers": []}, "unknown key; allowed here: keys, file, redis"),
    ],
)
def test_a_mistake_is_one_line_that_shows_no_key(access, told):
    line = refused(**access)
    assert told in line and "secret" not in line


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "holds no keys"),
        ("[]", "holds no keys"),
        ("other: 1", "holds no keys"),
        (f"- name: [{KEY}\n- x", "is not YAML or JSON, line 2"),
        (f"- name: x\n  sha256: {KEY}", "keys.0.sha256: String should match"),
        (KEY, "keys: "),
        (yaml.safe_dump([BOB | {"allow": ["large"]}]), "bob allows 'large'"),
        (yaml.safe_dump([ALICE | {"name": "b"}]), "alice and b are the same key"),
    ],
    ids=itertools.count(),  # the key differs in every process
)
def test_nor_does_one_in_the_file_and_a_file_without_keys_is_one(tmp_path, content, told):
    file = tmp_path / "keys.yaml"
    file.write_text(content)
    line = refused(keys=[ALICE], file=str(file))
    assert told in line and str(file) in line


def test_a_file_that_is_not_there_does_not_mean_no_keys(tmp_path):
    assert "No such file" in refused(file=str(tmp_path / "none"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "is not UTF-8" in refused(file=str(tmp_path / "binary"))


@pytest.mark.parametrize(("host", "said"), [("0.0.0.0", 1), ("::", 1), ("10.0.0.1", 1)])
def test_who_listens_to_others_without_keys_is_told(host, said):
    assert keys.remarks(settings(), host) == [keys.OPEN] * said
    assert keys.remarks(settings(keys=[ALICE]), host) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_the_loopback_there_is_nothing_to_say(host):
    assert keys.remarks(settings(), host) == []


def test_a_file_that_everybody_can_read_is_told(tmp_path):
    file = tmp_path / "k.yaml"
    file.write_text(yaml.safe_dump([BOB]))
    file.chmod(0o644)
    assert "chmod o-r" in keys.remarks(settings(file=str(file)), "0.0.0.0")[0]
    file.chmod(0o640)
    assert keys.remarks(settings(file=str(file)), "0.0.0.0") == []
