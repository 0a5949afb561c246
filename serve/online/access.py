"""Who asks, and what they may: API keys against the settings."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple, Protocol

from serve.config import LOCAL, KeySettings
from serve.errors import Forbidden, Unauthorized
from serve.online.peer import Peers

NOT_HERE = (
    "This server has no API keys, so it answers only the machine it runs on. To be answered here, "
    "its operator names keys under access.keys (pointsman key NAME makes one)."
)
NO_KEY = "No API key. Send it as Authorization: Bearer KEY, or as x-api-key."
UNKNOWN = "This API key is not known here."


class Limits(NamedTuple):
    """What a key may take; None: without limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    usd_per_day: float | None = None

    def __bool__(self) -> bool:
        """Whether there is any."""
        return any(limit is not None for limit in self)


NO_LIMITS = Limits()


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Attributes:
        name: of the key; `local` where no keys are configured.
        admin: may read /metrics and everybody's usage.
        priority: of the requests; lower is served sooner.
        allow: the experts that may be used; None: all.
        private: the requests never leave the edge.
        limits: what it may take.
    """

    name: str
    admin: bool = False
    priority: int = 0
    allow: frozenset[str] | None = None
    private: bool = False
    limits: Limits = NO_LIMITS

    def may_use(self, expert: str) -> bool:
        """Whether that expert may answer."""
        return self.allow is None or expert in self.allow

    @classmethod
    def of(cls, key: KeySettings) -> Caller:
        """Who holds that key."""
        return cls(
            name=key.name,
            admin=key.admin,
            priority=key.priority,
            allow=None if key.allow is None else frozenset(key.allow),
            private=key.private,
            limits=Limits(key.requests_per_minute, key.tokens_per_minute, key.usd_per_day),
        )


ANYONE_HERE = Caller(LOCAL, admin=True)
"""Whoever asks on this machine, where no keys are configured."""


_NOBODY: tuple[bytes, Caller | None] = (b"", None)


class CountsRefusals(Protocol):
    """The part of AccessTelemetry that is needed here."""

    def turned_away(self, reason: str) -> None:
        """One request was refused."""


class Access:
    """Tells who asks.

    Args:
        keys: every configured key (serve.keys.load); without any, this machine alone is answered.
        telemetry: counts refusals.
        peers: tells this machine's own requests.
    """

    def __init__(
        self, keys: list[KeySettings], telemetry: CountsRefusals, peers: Peers | None = None
    ) -> None:
        digests = {key.name: bytes.fromhex(key.sha256) for key in keys}
        self._keys = {digests[key.name]: (digests[key.name], Caller.of(key)) for key in keys}
        self._telemetry = telemetry
        self._peers = peers or Peers()

    @property
    def priorities(self) -> set[int]:
        """Of all keys."""
        return {caller.priority for _, caller in self._keys.values() if caller}

    @property
    def open(self) -> bool:
        """Whether there are no keys, so that this machine alone is answered."""
        return not self._keys

    def identify(self, headers: Mapping[str, str], connection: str | None) -> Caller:
        """Who sent a request.

        Args:
            headers: of the request; names in lower case.
            connection: request.client.host, or None.

        Raises:
            Unauthorized: a key is needed, and there is none or one that is not known.
            Forbidden: there are no keys, and another machine asks.
        """
        if self.open:
            if self._peers.is_own(headers, connection):
                return ANYONE_HERE
            self._telemetry.turned_away("forbidden")
            raise Forbidden(NOT_HERE, code="no_keys_configured")
        sent = _sent(headers)
        for key in sent:
            caller = self._known(key)
            if caller is not None:
                return caller
        self._telemetry.turned_away("unauthorized")
        raise Unauthorized(UNKNOWN if sent else NO_KEY)

    def require_admin(self, caller: Caller) -> None:
        """Pass an admin.

        Raises:
            Forbidden: it is none.
        """
        if not caller.admin:
            self._telemetry.turned_away("forbidden")
            raise Forbidden(f"The key {caller.name} is not an admin's (access.keys[].admin)")

    def require_expert(self, caller: Caller, expert: str) -> None:
        """Pass who may use that expert.

        Raises:
            Forbidden: the key does not allow it.
        """
        if not caller.may_use(expert):
            self._telemetry.turned_away("forbidden")
            raise Forbidden(f"The key {caller.name} may not use the expert {expert!r}")

    def _known(self, key: str) -> Caller | None:
        """Who holds that key.

        The time of a dictionary's search depends on Python's keyed hash of a SHA-256, of which a
        client knows neither; what decides compares in constant time.
        """
        # A header's bytes, as Starlette decoded them.
        digest = sha256(key.encode("latin-1", "replace")).digest()
        known, caller = self._keys.get(digest, _NOBODY)
        return caller if hmac.compare_digest(known, digest) else None


def _sent(headers: Mapping[str, str]) -> list[str]:
    """The keys in a request; clients of Anthropic's API send x-api-key."""
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    keys = [bearer.strip() if scheme.lower() == "bearer" else "", headers.get("x-api-key", "")]
    return [key for key in keys if key]
