from __future__ import annotations

import logging
import traceback

import pytest

from serve import keys
from serve.config import AccessSettings, KeySettings
from serve.errors import Forbidden, Unauthorized
from serve.online.access import ANYONE_HERE, Access, Caller

KEY = keys.make()


class FakeTelemetry:
    def __init__(self):
        self.reasons = []

    def turned_away(self, reason):
        self.reasons.append(reason)


def settings(key=KEY, **more):
    return KeySettings(name="alice", sha256=keys.hashed(key.encode()), **more)


@pytest.fixture
def telemetry():
    return FakeTelemetry()


@pytest.fixture
def access(telemetry):
    other = KeySettings(name="bob", sha256="0" * 64)
    return Access([other, settings(allow=["small"], priority=-1, private=True)], telemetry)


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY} "},
        {"x-api-key": KEY},
        {"authorization": "Bearer none", "x-api-key": KEY},
        {"authorization": "Basic YTpi", "x-api-key": KEY},
    ],
)
def test_a_key_says_who_asks_from_wherever(access, headers):
    caller = access.identify(headers, "203.0.113.9")
    assert (caller.name, caller.priority, caller.private) == ("alice", -1, True)
    assert caller.may_use("small") and not caller.may_use("large")


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({}, "No API key"),
        ({"authorization": ""}, "No API key"),
        ({"authorization": "Bearer"}, "No API key"),
        ({"authorization": "Bearer wrong"}, "not known"),
        ({"authorization": f"Bearer {KEY}x"}, "not known"),
        ({"authorization": f"Bearer {KEY[:-1]}"}, "not known"),
        ({"authorization": "Bearer " + keys.hashed(KEY.encode())}, "not known"),
        ({"authorization": f"Basic {KEY}"}, "No API key"),
        ({"x-api-key": "\u20ac\x00"}, "not known"),
    ],
)
def test_without_a_known_key_nobody_is_let_in_this_machine_neither(
    access, telemetry, headers, told
):
    with pytest.raises(Unauthorized, match=told) as refused:
        access.identify(headers, "127.0.0.1")
    assert (refused.value.status, refused.value.type) == (401, "authentication_error")
    assert refused.value.code == "invalid_api_key"
    assert telemetry.reasons == ["unauthorized"]


def test_a_key_beyond_ascii_is_the_bytes_that_came(telemetry):
    access = Access([settings("schlüssel")], telemetry)
    header = "schlüssel".encode().decode("latin-1")
    assert access.identify({"x-api-key": header}, None).name == "alice"


def test_without_keys_this_machine_alone_is_answered(telemetry):
    access = Access([], telemetry)
    assert access.open and access.identify({}, "127.0.0.1") is ANYONE_HERE
    assert access.identify({"authorization": "Bearer none"}, "::1").admin
    with pytest.raises(Forbidden, match="access.keys") as refused:
        access.identify({"authorization": f"Bearer {KEY}"}, "203.0.113.9")
    assert (refused.value.status, refused.value.code) == (403, "no_keys_configured")
    assert refused.value.type == "permission_error"


def test_admin_verbs_and_experts_are_for_whom_they_are(access, telemetry):
    access.require_admin(Caller("root", admin=True))
    access.require_expert(Caller("bob"), "large")
    with pytest.raises(Forbidden, match="alice is not an admin"):
        access.require_admin(Caller("alice"))
    with pytest.raises(Forbidden, match="may not use the expert 'large'"):
        access.require_expert(Caller("alice", allow=frozenset({"small"})), "large")
    assert telemetry.reasons == ["forbidden", "forbidden"]


def test_no_key_is_in_a_log_an_error_or_a_trace(access, caplog):
    secret = keys.make()
    with caplog.at_level(logging.DEBUG):
        caller = access.identify({"x-api-key": KEY}, None)
        with pytest.raises(Unauthorized) as refused:
            access.identify({"authorization": f"Bearer {secret}", "x-api-key": secret}, None)
    shown = "".join(traceback.format_exception(refused.value))
    for text in (caplog.text, shown, repr(refused.value), repr(caller), repr(access)):
        assert secret not in text and KEY not in text


def test_settings_hold_no_key():
    assert KEY not in AccessSettings(keys=[settings()]).model_dump_json()
