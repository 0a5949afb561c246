"""An application of its own for a load test: started from changed settings, stopped by its pid."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from serve import ports

START_S = 600
STOP_S = 120


@contextmanager
def running(
    file: Path, change: Callable[[dict[str, Any]], None], **environment: str
) -> Iterator[tuple[str, int]]:
    """The base URL and the pid of `serve run` on a free port of the loopback, until the block ends.

    Args:
        file: settings.
        change: of the application's `args`, in place.
        environment: variables for it beside this process's own.
    """
    config = yaml.safe_load(file.read_text())
    config["http_options"] = {"host": "127.0.0.1", "port": ports.free(0)}
    change(config["applications"][0]["args"])
    url = f"http://127.0.0.1:{config['http_options']['port']}"
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / file.name
        settings.write_text(yaml.safe_dump(config))
        command = [str(Path(sys.executable).with_name("serve")), "run", str(settings)]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, env={**os.environ, **environment}
        )
        try:
            _wait(url, process)
            yield url, process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_S)


def replicas(pid: int, deployment: str) -> list[psutil.Process]:
    """The processes of a deployment's replicas below that pid."""
    below = psutil.Process(pid).children(recursive=True)
    return [process for process in below if _title(process).endswith(f":{deployment}")]


def engine(pid: int, expert: str) -> psutil.Process:
    """The engine process of an expert's first replica."""
    for process in replicas(pid, f"LLMServer:{expert}"):
        for child in engines_below(process):
            return child
    raise LookupError(f"no engine of {expert}")


def engines_below(replica: psutil.Process) -> list[psutil.Process]:
    """The engine processes that a replica has started."""
    children = replica.children(recursive=True)
    return [child for child in children if "EngineCore" in _title(child)]


def memory(pid: int, deployment: str) -> int:
    """Bytes that the replicas of a deployment hold (unique set size)."""
    return sum(process.memory_full_info().uss for process in replicas(pid, deployment))


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()).strip() or process.name()
    except psutil.NoSuchProcess:
        return ""


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/ready", timeout=10).close()
            return
        except OSError:
            time.sleep(1)
    os.kill(process.pid, signal.SIGTERM) if process.poll() is None else None
    raise SystemExit("the application did not start")
