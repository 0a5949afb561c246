"""From which machine a request comes, as far as that can be known truthfully.

What a replica's server sees is who opened the connection: Ray Serve's HAProxy, Ray's Python proxy,
or, as replicas listen on http_options.host too (ports from 30000), a client that went past both.

1. serve/online/loopback_haproxy.py has HAProxy put the address it sees into HEADER, in place of
   whatever a client sent there. So what HAProxy says is true; what anybody else says is worth
   nothing, and a client can send that header to a replica's own port or to Ray's Python proxy.
2. HEADER is therefore believed only from a connection that this machine or another node of the Ray
   cluster opened. Whoever has a process there can run any code in the cluster anyway (Ray's own
   trust), and a connection's address cannot be forged over TCP.
3. Without HEADER: the connection's address is the client's where no HAProxy is in front. Where one
   is that was not mended (RAY_SERVE_ENABLE_HA_PROXY without our binary), nothing is known.
4. A request that says it was forwarded (X-Forwarded-For and the like) comes from a proxy of the
   operator's, on this machine perhaps, in the name of somebody else: never this machine's own. Nor
   does uvicorn's own reading of X-Forwarded-For help a liar: it can only make 2 fail.

What remains: a TCP forwarder on this machine that adds no header (ssh -L, kubectl port-forward, a
container's port proxy) makes its users local. Who runs one should configure keys.
"""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import ray

from serve.online.loopback_haproxy import HEADER

FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
REFRESH_S = 10.0
"""How old the list of the machine's and the cluster's addresses may be."""


class Peers:
    """Tells this machine's own requests from others.

    Args:
        cluster: the addresses of the Ray cluster's nodes.
    """

    def __init__(self, cluster: Callable[[], set[str]] | None = None) -> None:
        self._cluster = cluster or _cluster
        self._own: set[str] = set()
        self._nodes: set[str] = set()
        self._read_own = self._read_nodes = -REFRESH_S
        self._unmended = _haproxy_is_not_ours()

    def is_own(self, headers: Mapping[str, str], connection: str | None) -> bool:
        """Whether this machine asks; where a cluster's HAProxy is asked, its own machine.

        Args:
            headers: of the request, names in lower case.
            connection: the address that the replica's server sees.
        """
        if connection is None or any(name in headers for name in FORWARDED):
            return False
        told = headers.get(HEADER)
        if told is not None and self._is_trusted(connection):
            return self._is_here(told)
        return not self._unmended and self._is_here(connection)

    def _is_trusted(self, connection: str) -> bool:
        if self._unmended:
            return False
        if self._is_here(connection):
            return True
        now = time.monotonic()
        if now - self._read_nodes >= REFRESH_S:
            self._nodes, self._read_nodes = self._cluster(), now
        return connection in self._nodes

    def _is_here(self, address: str) -> bool:
        plain = _plain(address)
        if plain is None or plain.is_loopback:
            return plain is not None
        now = time.monotonic()
        if now - self._read_own >= REFRESH_S:
            self._own, self._read_own = _own_addresses(), now
        return str(plain) in self._own


def _plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address without its zone; of an IPv4 address in IPv6 form, the IPv4 one."""
    try:
        parsed = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed


def _own_addresses() -> set[str]:
    found = (_plain(entry.address) for card in psutil.net_if_addrs().values() for entry in card)
    return {str(address) for address in found if address is not None}


def _cluster() -> set[str]:
    return {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}


def _haproxy_is_not_ours() -> bool:
    """Whether Serve runs an HAProxy that was not started through serve/online/loopback_haproxy.py.

    Both variables are Ray's, which needs them the same in every process of the cluster.
    """
    binary = Path(os.environ.get("RAY_SERVE_HAPROXY_BINARY_PATH", ""))
    enabled = os.environ.get("RAY_SERVE_ENABLE_HA_PROXY", "0") not in ("", "0")
    return enabled and binary.name != "pointsman-haproxy"
