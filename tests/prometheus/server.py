"""A real Prometheus, started for a test on the loopback."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

READY_S = 30.0


@dataclass(frozen=True)
class Sample:
    """One series of an answer: its labels, and the value now."""

    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Prometheus:
    """The HTTP API of one that runs."""

    url: str

    def query(self, expr: str) -> list[Sample]:
        """What an expression is now; [] where nothing matches.

        Raises:
            urllib.error.HTTPError: it is no PromQL.
        """
        found = self._get("query", query=expr)["result"]
        return [Sample(each["metric"], float(each["value"][1])) for each in found]

    def alerts(self) -> list[dict[str, Any]]:
        """The active ones: `state` (pending, firing), `labels`, `annotations`, `value`."""
        return list(self._get("alerts")["alerts"])

    def rule_groups(self) -> list[dict[str, Any]]:
        """Of every rule its `health` (ok, err, unknown), and `lastError` where there is one."""
        return list(self._get("rules")["groups"])

    def targets(self) -> list[dict[str, Any]]:
        """What is scraped: `health` (up, down, unknown), `lastError`, `scrapeUrl` and more."""
        return list(self._get("targets")["activeTargets"])

    def wait_for(self, expr: str, timeout_s: float = 30.0) -> list[Sample]:
        """The answer to an expression, once there is one.

        Raises:
            AssertionError: there is none in time; it says how the targets are.
        """
        until = time.monotonic() + timeout_s
        while not (found := self.query(expr)):
            how = [(each["health"], each["lastError"]) for each in self.targets()]
            assert time.monotonic() < until, f"{expr}: nothing in {timeout_s} s; targets: {how}"
            time.sleep(0.2)
        return found

    def _get(self, what: str, **parameters: str) -> Any:
        with urlopen(f"{self.url}/api/v1/{what}?{urlencode(parameters)}", timeout=10) as answer:
            return json.load(answer)["data"]


@contextlib.contextmanager
def prometheus(
    folder: Path, targets: Sequence[str], rules: Sequence[Path] = (), interval_s: int = 1
) -> Iterator[Prometheus]:
    """Run one that scrapes /metrics of each HOST:PORT and evaluates these rule files.

    Skips the test where Prometheus is not installed.

    Args:
        folder: empty, for its configuration, data and log.
        targets: HOST:PORT of each.
        rules: absolute paths.
        interval_s: between two scrapes, and between two evaluations of the rules.
    """
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("no prometheus here: apt-get install prometheus")
    every = f"{interval_s}s"
    job = {"job_name": "pointsman", "static_configs": [{"targets": list(targets)}]}
    config = {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": [str(file) for file in rules],
        "scrape_configs": [job],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    words = ["--config.file", "prometheus.yaml", "--web.listen-address", address]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [binary, *words, "--storage.tsdb.path", "data"], cwd=folder, stdout=log, stderr=log
        )
    try:
        _wait_until_ready(f"http://{address}", process, folder / "log")
        yield Prometheus(f"http://{address}")
    finally:
        process.terminate()
        process.wait(20)


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + READY_S
    while True:
        try:
            with urlopen(f"{url}/-/ready", timeout=5):
                return
        except OSError:
            alive = process.poll() is None and time.monotonic() < until
            assert alive, f"Prometheus does not get ready:\n{log.read_text()[-2000:]}"
            time.sleep(0.1)
