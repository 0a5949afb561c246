"""The rules in a real Prometheus, which scrapes what Ray's agent would export."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.prometheus.server import prometheus

AGENT = 'Component="core_worker",NodeAddress="192.0.2.1",SessionName="s",Version="2.60.0"'
INGRESS = 'deployment="RouterIngress",replica="r1"'
TEXT = f"""\
# TYPE ray_pointsman_requests_total counter
ray_pointsman_requests_total{{{AGENT},WorkerId="w1",expert="small",chosen_by="router"}} 90.0
ray_pointsman_requests_total{{{AGENT},WorkerId="w2",expert="small",chosen_by="client"}} 60.0
# TYPE ray_pointsman_errors_total counter
ray_pointsman_errors_total{{{AGENT},WorkerId="w2",status="503"}} 50.0
# TYPE ray_pointsman_records_lost_total counter
ray_pointsman_records_lost_total{{{AGENT},WorkerId="w1"}} 2.0
# TYPE ray_pointsman_circuit_open gauge
ray_pointsman_circuit_open{{{AGENT},WorkerId="w1",expert="small",replica="r1"}} 1.0
# TYPE ray_serve_deployment_replica_healthy gauge
ray_serve_deployment_replica_healthy{{{AGENT},WorkerId="c",{INGRESS}}} 1.0
"""


class Agent(BaseHTTPRequestHandler):
    """Answers every scrape with the same text."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(TEXT.encode())

    def log_message(self, *_: object) -> None:
        """Keep the test's output short."""


@pytest.fixture(scope="module")
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Agent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def running(address, repository, tmp_path_factory):
    folder = repository / "deployments/prometheus"
    rules = [folder / "recording.yaml", folder / "alerts.yaml"]
    with prometheus(tmp_path_factory.mktemp("prometheus"), [address], rules) as server:
        yield server


def value(running, expr):
    (found,) = running.wait_for(expr)
    return found.value


def test_it_scrapes(running):
    assert value(running, "sum(ray_pointsman_requests_total)") == 150


def test_a_share_of_errors_is_recorded_from_the_first_one_on(running):
    assert value(running, "pointsman:errors:ratio1h > 0") == 0.25
    assert value(running, "pointsman:records_lost:increase10m > 0") == 2


def test_alerts_are_pending_for_as_long_as_they_say_and_then_fire(running):
    running.wait_for('ALERTS{alertname="PointsmanRecordsLost", alertstate="firing"}')
    running.wait_for('ALERTS{alertname="PointsmanExpertCircuitOpen", alertstate="pending"}')
    running.wait_for('ALERTS{alertname="PointsmanErrorsBurnFast", alertstate="pending"}')
    states = {each["labels"]["alertname"]: each for each in running.alerts()}
    assert "PointsmanAbsent" not in states
    lost, broken = states["PointsmanRecordsLost"], states["PointsmanExpertCircuitOpen"]
    assert (lost["state"], broken["state"]) == ("firing", "pending")
    assert lost["annotations"]["summary"].startswith("2 requests of the last 10 minutes")
    assert broken["annotations"]["summary"].startswith("small gets no requests")
    burning = states["PointsmanErrorsBurnFast"]["annotations"]["summary"]
    assert burning.startswith("25% of the requests")


def test_every_rule_can_be_evaluated(running):
    """Without an error such as two series where one is needed."""
    running.wait_for("pointsman:errors:ratio1h")
    rules = [rule for group in running.rule_groups() for rule in group["rules"]]
    assert [rule for rule in rules if rule["health"] != "ok"] == []
