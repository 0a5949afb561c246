from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest

from serve.online.loopback_haproxy import HEADER
from serve.online.peer import Peers

FAR = "203.0.113.9"
NODE = "198.51.100.2"


@pytest.fixture(autouse=True)
def our_haproxy(monkeypatch):
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "1")
    monkeypatch.setenv("RAY_SERVE_HAPROXY_BINARY_PATH", "/x/bin/pointsman-haproxy")


@pytest.fixture
def peers():
    return Peers(cluster=lambda: {NODE})


def mine():
    """Every IPv4 address of this machine; the loopback's is always among them."""
    cards = psutil.net_if_addrs().values()
    return [e.address for card in cards for e in card if e.family.name == "AF_INET"]


@pytest.mark.parametrize("local", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "127.8.8.8"])
def test_the_loopback_is_this_machine_as_haproxy_says_or_as_the_connection_is(peers, local):
    assert peers.is_own({HEADER: local}, "127.0.0.1")
    assert peers.is_own({}, local)


def test_so_is_any_address_of_its_own(peers):
    assert mine()
    for address in mine():
        assert peers.is_own({HEADER: address}, "127.0.0.1")
        assert peers.is_own({}, address)


def test_an_address_of_a_card_is_and_of_no_card_is_not(peers, monkeypatch):
    card = [SimpleNamespace(address="10.9.8.7"), SimpleNamespace(address="fe80::1%eth0")]
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"eth0": card})
    assert peers.is_own({}, "10.9.8.7") and peers.is_own({}, "fe80::1")
    assert not peers.is_own({}, "10.9.8.6")


def test_haproxy_on_another_node_of_the_cluster_is_believed(peers):
    assert peers.is_own({HEADER: "127.0.0.1"}, NODE)
    assert not peers.is_own({HEADER: FAR}, NODE)
    assert not peers.is_own({}, NODE)


@pytest.mark.parametrize(
    ("headers", "connection"),
    [
        ({HEADER: FAR}, "127.0.0.1"),  # through HAProxy
        ({HEADER: "127.0.0.1"}, FAR),  # past it, to the replica's own port, with a lie
        ({}, FAR),
        ({HEADER: "127.0.0.1", "x-forwarded-for": FAR}, "127.0.0.1"),  # the operator's nginx here
        ({"forwarded": "for=x"}, "127.0.0.1"),
        ({HEADER: ""}, "127.0.0.1"),
        ({HEADER: "127.0.0.1, 127.0.0.1"}, "127.0.0.1"),
        ({HEADER: "localhost"}, "127.0.0.1"),
        ({}, None),
        ({HEADER: "127.0.0.1"}, None),
        ({}, "testclient"),
    ],
)
def test_anybody_else_is_not_whatever_they_say(peers, headers, connection):
    assert not peers.is_own(headers, connection)


def test_behind_a_haproxy_that_nobody_mended_nothing_is_known(monkeypatch):
    monkeypatch.delenv("RAY_SERVE_HAPROXY_BINARY_PATH")
    peers = Peers(cluster=lambda: set())
    assert not peers.is_own({}, "127.0.0.1")
    assert not peers.is_own({HEADER: "127.0.0.1"}, "127.0.0.1")


def test_behind_rays_own_proxy_the_connection_is_the_client(monkeypatch):
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "0")
    monkeypatch.delenv("RAY_SERVE_HAPROXY_BINARY_PATH")
    peers = Peers(cluster=lambda: set())
    assert peers.is_own({}, "127.0.0.1")
    assert not peers.is_own({HEADER: "127.0.0.1"}, FAR)


def test_the_cluster_is_asked_now_and_then_only():
    asked = []
    peers = Peers(cluster=lambda: asked.append(1) or {NODE})
    for _ in range(5):
        peers.is_own({HEADER: "127.0.0.1"}, FAR)
    assert len(asked) == 1
