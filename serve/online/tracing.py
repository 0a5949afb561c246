"""The seam to tracing: what the request path tells of itself, and to whom.

Without `tracing` in the settings that is nobody, and OpenTelemetry is not imported here; with it,
otlp.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from serve.config import TracingSettings
from serve.errors import SettingsError

if TYPE_CHECKING:
    from serve.online.fleet import Lease
    from serve.online.story import Story

INSTALL = "tracing: needs OpenTelemetry: pip install -e '.[tracing]', or leave tracing out"

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Trace(Protocol):
    """The spans of one request."""

    def asks(self, lease: Lease) -> Mapping[str, str]:
        """An expert is asked; the trace context for it to go on with, as W3C's headers."""
        ...

    def over(self, story: Story) -> None:
        """The request is over, and all that it asked has ended."""
        ...


class Tracer(Protocol):
    """What traces the requests of one ingress replica."""

    def trace(self, headers: Mapping[str, str]) -> Trace:
        """A request begins, with these headers."""
        ...

    def close(self) -> None:
        """Send what has not been sent yet; waits for it."""
        ...


class Untraced:
    """No spans."""

    def trace(self, headers: Mapping[str, str]) -> Trace:
        """See Tracer."""
        return self

    def asks(self, lease: Lease) -> Mapping[str, str]:
        """See Trace."""
        return _NOTHING

    def over(self, story: Story) -> None:
        """See Trace."""

    def close(self) -> None:
        """See Tracer."""


UNTRACED = Untraced()


def require_exporter() -> None:
    """Raise SettingsError where OpenTelemetry is not installed."""
    try:
        from serve.online import otlp  # noqa: F401
    except ImportError:
        raise SettingsError(INSTALL) from None


def tracer(settings: TracingSettings | None, replica: str) -> Tracer:
    """What the settings ask for.

    Args:
        settings: None: no tracing.
        replica: names this process in its spans.

    Raises:
        SettingsError: OpenTelemetry is not installed, or the variable of the headers not set.
    """
    if settings is None:
        return UNTRACED
    require_exporter()
    from serve.online.otlp import OtlpTracer

    return OtlpTracer(settings, replica)
