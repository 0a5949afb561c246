from __future__ import annotations

import socket

import pytest

from serve import ports


@pytest.fixture
def taken(monkeypatch):
    """The first block of ports, held by another application."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setattr(ports, "INGRESS", range(port, port + 3))
        yield port


def test_a_second_application_takes_another_block_for_its_ingress_replicas(taken):
    """Ray's replicas share a port that is taken, and with it the requests."""
    least, most = ports.for_ingress_replicas()
    assert taken < least < most


def test_a_port_that_is_taken_is_another_one(taken):
    assert ports.free(taken) != taken
