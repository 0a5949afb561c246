"""Small parts that many tests share: a fake encoder, called so, and a two-expert pool."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from serve.protocol import Expert, Floats, Lap, unheard

settings.register_profile("pointsman", deadline=None)
settings.load_profile("pointsman")

# Of whatever else runs on this machine, or was killed there, no test joins the Ray cluster.
os.environ["RAY_ADDRESS"] = "local"
# Ray starts its workers at nice 15: beside another test's work a replica would hardly come up.
os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  (so spelt by Ray)


class ToldAtOnce:
    """Each failure's name and end where it happens: a run that is cut off prints no summary."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self.terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.terminal.ensure_newline()
            took = f"{report.duration:.0f} s"
            self.terminal.write_line(f"{report.nodeid}, {report.when} after {took}", red=True)
            self.terminal.write_line(report.longreprtext[-1500:])


def pytest_sessionstart(session: pytest.Session) -> None:
    plugins = session.config.pluginmanager
    if terminal := plugins.get_plugin("terminalreporter"):
        plugins.register(ToldAtOnce(terminal))


class FakeEncoder:
    """Deterministic unit vectors from a hash of the text; counts its passes."""

    name = "fake/1"
    dimension = 8

    def __init__(self) -> None:
        self.passes = 0

    def encode(self, texts: Sequence[str], lap: Lap = unheard) -> Floats:
        self.passes += 1
        lap("tokenise")
        rows = [
            np.frombuffer(hashlib.sha256(text.encode()).digest()[:8], dtype=np.uint8) - 127.5
            for text in texts
        ]
        vectors = np.array(rows, dtype=np.float32)
        lap("embed")
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def fake_encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def pool() -> list[Expert]:
    return [Expert("small", 0.1, 0.1), Expert("large", 1.0, 1.0)]


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).parents[1]
