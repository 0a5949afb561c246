"""API keys: made, hashed, and read from the settings and the file that they name."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import stat
from pathlib import Path

import yaml

from serve.config import AccessSettings, KeySettings, Settings, parse
from serve.errors import SettingsError

PREFIX = "pm-"
"""Of every key that is made here, so that a leaked one is recognised."""

VARIABLE = "POINTSMAN_API_KEY"
"""Environment variable with the key that the verbs of pointsman send."""

OPEN = (
    "No API keys are configured: only this machine is answered "
    "(access.keys; pointsman key NAME makes one)"
)


def make() -> str:
    """A random key; 256 bits."""
    return PREFIX + secrets.token_urlsafe(32)


def hashed(key: bytes) -> str:
    """What the settings hold of a key."""
    return hashlib.sha256(key).hexdigest()


def load(settings: Settings) -> list[KeySettings]:
    """Every key of the settings and of their file; empty where none are configured.

    A file that is named must hold keys: were a lost secret to mean "no keys", it would change who
    is answered.

    Raises:
        SettingsError: the file cannot be read, holds no keys, or they are not right; never with
            a value of the file in its text.
    """
    access = settings.access
    if access.file is None:
        return access.keys
    file = Path(access.file).expanduser()
    read = parse(AccessSettings, {"keys": _entries(file)}, str(file))
    joined = [*access.keys, *read.keys]
    where = f"access.keys and {file}"
    raw = {"keys": [key.model_dump() for key in joined]}
    wrong = parse(AccessSettings, raw, where).unknown([expert.id for expert in settings.experts])
    if wrong:
        raise SettingsError(f"{where}: {wrong}")
    return joined


def _entries(file: Path) -> object:
    """A list of keys, or a mapping whose `keys` is one."""
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8"
        raise SettingsError(f"access.file: {file}: {reason}") from None
    except yaml.YAMLError as error:
        # Its own text quotes the line.
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise SettingsError(f"access.file: {file}: is not YAML or JSON{line}") from None
    entries = content.get("keys") if isinstance(content, dict) else content
    if not entries:
        raise SettingsError(f"access.file: {file}: holds no keys")
    return entries


def remarks(settings: Settings, host: str) -> list[str]:
    """What a person who starts the application should know, one line each.

    Args:
        settings: the application's.
        host: http_options.host.
    """
    said = []
    if settings.access.open and not _is_loopback(host):
        said.append(OPEN)
    if settings.access.file is not None:
        file = Path(settings.access.file).expanduser()
        if file.stat().st_mode & stat.S_IROTH:
            said.append(f"{file}: every user of this machine can read it (chmod o-r)")
    return said


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
