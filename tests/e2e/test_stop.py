"""Runs last: it stops the application that the other files used."""

from __future__ import annotations

import signal
import socket

import psutil
import pytest

from tests.e2e.conftest import EXPERTS
from tests.e2e.test_faults import until
from tests.test_launch import one_line, serve_run


def test_a_second_start_on_the_same_port_is_refused_in_one_line(application):
    line = one_line(serve_run(application.file))
    assert "http_options.port" in line and "cannot be used" in line


def test_a_killed_replica_leaves_no_engine_behind(application):
    """Nor has the next test an easier time: it stops the application while an engine starts."""
    expert, other = EXPERTS
    replica = next(p for p in application.processes() if f"LLMServer:{expert}" in title(p))
    engine = next(p for p in replica.children(recursive=True) if "EngineCore" in title(p))
    replica.send_signal(signal.SIGKILL)
    until(lambda: not alive(engine), 30, "the engine has ended")
    question = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
    status, _, headers = application.post("/v1/chat/completions", question)
    assert status == 200 and headers["x-pointsman-expert"] == other


def title(process):
    try:
        return " ".join([process.name(), *process.cmdline()])
    except psutil.NoSuchProcess:  # or a zombie
        return ""


def alive(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


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
