"""The ports that an application listens on, and whether they can be had."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from serve.errors import SettingsError

OF_RAY_SERVE = {
    "RAY_SERVE_HAPROXY_METRICS_PORT": 9101,
    "RAY_SERVE_HAPROXY_STATS_PORT": 8404,
    # Ray's own proxy, to which HAProxy turns until a replica of the ingress is there.
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": 8500,
}
"""Where they are free: a second application on the machine takes others."""


INGRESS = range(30000, 60000, 1000)
"""Where the thousand ports of ingress replicas may begin."""


def address(config: dict[str, Any]) -> tuple[str, int]:
    """Host and port of http_options in a Serve config."""
    from ray.serve.config import HTTPOptions

    options = HTTPOptions(**config.get("http_options", {}))
    return options.host or "127.0.0.1", options.port


def free(wanted: int) -> int:
    """That port of the loopback, or another where it is taken, or none is wanted (0)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def for_ingress_replicas() -> tuple[int, int]:
    """The least and the last port that Ray may give to ingress replicas.

    It binds them with SO_REUSEPORT: two applications with the same would get each other's requests.
    """
    first = next((port for port in INGRESS if free(port) == port), INGRESS[0])
    return first, first + INGRESS.step


def require_free(host: str, port: int, file: Path) -> None:
    """Check that the application can listen there.

    Raises:
        SettingsError: it cannot.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingsError(
                f"{file}: http_options.port: {port} on {host} cannot be used "
                f"({error.strerror}); stop what holds it or name another port"
            ) from error
