"""Stands beside a running `serve run`: says how far it is, stops it, cleans up after it."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

STOP_TIMEOUT_S = 30.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_INSTALL = signal.SIGUSR1


class Watch(threading.Thread):
    """Tells the terminal how far the start is; stops the process where it cannot succeed."""

    def __init__(self, url: str, experts: int, log: Path, terminal: TextIO) -> None:
        super().__init__(daemon=True, name="watch")
        self.failed = False
        self._ray_is_up = False
        self._url, self._experts, self._log, self._terminal = url, experts, log, terminal

    def run(self) -> None:
        """Poll until the application is ready or Serve has given it up."""
        from tqdm import tqdm

        bar = tqdm(
            total=self._experts,
            desc="Experts ready",
            file=self._terminal,
            bar_format="{desc}: {n_fmt}/{total_fmt} |{bar}| {elapsed}",
        )
        while True:
            ready = self._ready()
            bar.n = sum(ready.get("experts", {}).values())
            bar.refresh()
            if ready.get("ready"):
                break
            self._once_ray_is_up()
            if (reason := _deploy_failure()) is not None:
                bar.close()
                self.fail(reason)
                os.kill(os.getpid(), signal.SIGINT)
                return
            time.sleep(1)
        bar.close()
        self._say(f"Ray dashboard: {_dashboard()}")
        self._say(f"Serving on {self._url}/v1. Try:\n\n{_curl(self._url)}\n\nCtrl-C stops it.")

    def _once_ray_is_up(self) -> None:
        import ray

        if not self._ray_is_up and ray.is_initialized():
            self._ray_is_up = True
            os.kill(os.getpid(), _INSTALL)

    def _ready(self) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"{self._url}/ready", timeout=10) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            with contextlib.suppress(ValueError):
                return dict(json.load(error))
        except (OSError, ValueError):
            pass
        return {}

    def fail(self, reason: str) -> None:
        """Say why there will be no application."""
        self.failed = True
        self._say(f"serve run: the application did not start: {reason}\nLog: {self._log}")

    def _say(self, text: str) -> None:
        self._terminal.write(text + "\n")
        self._terminal.flush()


def _dashboard() -> str:
    """Address of the REST API, which `pointsman promote` and `serve deploy` need."""
    import ray
    from ray.job_submission import JobSubmissionClient

    return str(JobSubmissionClient(ray.get_runtime_context().gcs_address).get_address())


def _deploy_failure() -> str | None:
    """Why Serve gave the application up, or None as long as it has not."""
    import ray
    from ray import serve
    from ray.serve.schema import ApplicationStatus

    if not ray.is_initialized():
        return None
    try:
        applications = serve.status().applications.values()
    except Exception:  # the controller is not up yet
        return None
    for application in applications:
        if application.status == ApplicationStatus.DEPLOY_FAILED:
            return str(application.message).strip().splitlines()[-1]
    return None


def _curl(url: str) -> str:
    body = '{"model": "auto", "messages": [{"role": "user", "content": "What is 17 * 23?"}]}'
    return (
        f"  curl {url}/v1/chat/completions -H 'content-type: application/json' \\\n"
        f"    -d '{body}' -i"
    )


@contextlib.contextmanager
def output_to(log: Path) -> Iterator[TextIO]:
    """Ray's and vLLM's output goes to the log; yields the terminal."""
    sys.stdout.flush()
    terminal = os.fdopen(os.dup(1), "w")
    saved = os.dup(2)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield terminal
    finally:
        sys.stdout.flush()
        os.dup2(terminal.fileno(), 1)
        os.dup2(saved, 2)


@contextlib.contextmanager
def ended_by_signals(terminal: TextIO) -> Iterator[None]:
    """SIGTERM and SIGINT both end Ray's loop as Ctrl-C does, also under nohup or a shell's `&`.

    ray.init puts a handler of its own on SIGTERM, which aborts the process; the watch therefore
    asks for these again, by a signal, since only the main thread may install one.
    """

    def interrupt(number: int, frame: object) -> None:
        for later in _SIGNALS:
            signal.signal(later, signal.SIG_IGN)
        terminal.write("Stopping\n")
        terminal.flush()
        raise KeyboardInterrupt

    def install(*_: object) -> None:
        for number in _SIGNALS:
            signal.signal(number, interrupt)

    signal.signal(_INSTALL, install)
    install()
    yield


@contextlib.contextmanager
def nothing_left_behind() -> Iterator[None]:
    """Become the parent of every orphan below this process, and end what outlives the block."""
    import psutil

    PR_SET_CHILD_SUBREAPER = 36
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        import ray

        ray.shutdown()
        left = psutil.Process().children(recursive=True)
        _, left = psutil.wait_procs(left, timeout=STOP_TIMEOUT_S)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=STOP_TIMEOUT_S)
