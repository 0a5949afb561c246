"""Runs last: it stops the application that the other files used."""

from __future__ import annotations

import socket

import pytest

from tests.test_launch import one_line, serve_run


def test_a_second_start_on_the_same_port_is_refused_in_one_line(application):
    line = one_line(serve_run(application.file))
    assert "http_options.port" in line and "cannot be used" in line


def test_sigterm_leaves_no_process_and_frees_the_port(application):
    names = {process.name() for process in application.processes()}
    assert {"haproxy", "raylet"} <= names
    assert application.stop() == []
    assert application.process.returncode == 0
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", int(application.url.rsplit(":", 1)[1])))
    with pytest.raises(OSError, match="refused"):
        application.get("/health")
