"""Ray Serve's `serve` command, with a check before `serve run` and nothing left behind after it.

Installed as .venv/bin/serve in place of Ray's. For a file whose application is serve.app:build,
`serve run FILE` first checks the settings, the router artifact, the models' bytes and the port,
each mistake in one line; then runs Ray's command in this process and says when the application
answers.
Everything else goes to Ray unchanged.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import yaml
from pydantic import ValidationError

from serve import weights
from serve.config import Settings, describe, parse_settings
from serve.errors import SettingsError, SetupError

IMPORT_PATH = "serve.app:build"
ENVIRONMENT = {
    # Read by Ray when it is imported, in every process of the cluster.
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_HAPROXY_BINARY_PATH": str(Path(sys.executable).with_name("pointsman-haproxy")),
    "RAY_SERVE_LOG_TO_STDERR": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # How long an ingress replica waits for HAProxy to forget it; Ray's 30 s make Ctrl-C slow.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
STOP_TIMEOUT_S = 30.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def main() -> None:
    """The `serve` command."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    file = _our_file(sys.argv[1:])
    if file is None:
        _ray_command()
        return
    try:
        sys.exit(run(file))
    except SetupError as error:
        sys.exit(f"serve run: {error}")


def run(file: Path) -> int:
    """`serve run FILE` from the first check to the last process; the exit status."""
    config = read_config(file)
    host, port = _address(config)
    _require_free(host, port, file)
    settings = check(config, file)
    for expert in settings.experts:
        weights.resolve(expert.model)
    log = _log_file()
    print(f"Starting {len(settings.experts)} experts and the router. Log: {log}", flush=True)
    with _nothing_left_behind(), _output_to(log) as terminal, _ended_by_signals(terminal):
        watch = _Watch(f"http://{_reachable(host)}:{port}", len(settings.experts), log, terminal)
        watch.start()
        try:
            _ray_command()
        except (SystemExit, KeyboardInterrupt):
            pass
        except Exception as error:
            traceback.print_exc()
            watch.fail(str(error).strip().splitlines()[0])
        return 1 if watch.failed else 0


def read_config(file: Path) -> dict[str, Any]:
    """A Serve config file, valid for Ray.

    Raises:
        SettingsError: not YAML, or not what Ray Serve takes.
    """
    try:
        config = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(f"{file}: {' '.join(str(error).split())}") from error
    from ray.serve.schema import ServeDeploySchema

    try:
        ServeDeploySchema.model_validate(config)
    except ValidationError as error:
        raise SettingsError(f"{file}: {describe(error)}") from None
    return dict(config)


def check(config: dict[str, Any], file: Path) -> Settings:
    """The settings of our application in a Serve config, its router artifact checked.

    Raises:
        SettingsError, ArtifactError, WeightsError: one line each.
    """
    from serve.online.router import check_router

    settings = settings_of(config, file)
    check_router(settings)
    return settings


def settings_of(config: dict[str, Any], file: Path) -> Settings:
    """The settings of our application in a Serve config.

    Raises:
        SettingsError: they are not right, or no application is ours.
    """
    for application in config.get("applications", []):
        if application["import_path"] == IMPORT_PATH:
            return parse_settings(application.get("args"), str(file))
    raise SettingsError(f"{file}: applications: none has import_path {IMPORT_PATH}")


class _Watch(threading.Thread):
    """Tells the terminal how far the start is; stops the process where it cannot succeed."""

    def __init__(self, url: str, experts: int, log: Path, terminal: TextIO) -> None:
        super().__init__(daemon=True, name="watch")
        self.failed = False
        self._url, self._experts, self._log, self._terminal = url, experts, log, terminal

    def run(self) -> None:
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
            if (reason := _deploy_failure()) is not None:
                bar.close()
                self.fail(reason)
                os.kill(os.getpid(), signal.SIGINT)
                return
            time.sleep(1)
        bar.close()
        self._say(f"Serving on {self._url}/v1. Try:\n\n{_curl(self._url)}\n\nCtrl-C stops it.")

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


def _ray_command() -> None:
    from ray.serve.scripts import cli

    cli(prog_name="serve")


def _our_file(arguments: list[str]) -> Path | None:
    """The config file of `serve run FILE`, where it is one of ours."""
    if arguments[:1] != ["run"]:
        return None
    for argument in arguments[1:]:
        path = Path(argument)
        if path.suffix in (".yaml", ".yml") and path.is_file():
            return path if IMPORT_PATH in path.read_text() else None
    return None


def _address(config: dict[str, Any]) -> tuple[str, int]:
    from ray.serve.config import HTTPOptions

    options = HTTPOptions(**config.get("http_options", {}))
    return options.host or "127.0.0.1", options.port


def _reachable(host: str) -> str:
    return "127.0.0.1" if host in ("0.0.0.0", "::") else host


def _require_free(host: str, port: int, file: Path) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingsError(
                f"{file}: http_options.port: {port} on {host} cannot be used "
                f"({error.strerror}); stop what holds it or name another port"
            ) from error


def _log_file() -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pointsman" / "logs"
    root.mkdir(parents=True, exist_ok=True)
    return root / f"serve-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"


@contextlib.contextmanager
def _output_to(log: Path) -> Iterator[TextIO]:
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
def _ended_by_signals(terminal: TextIO) -> Iterator[None]:
    """SIGTERM and SIGINT both end Ray's loop as Ctrl-C does, also under nohup or a shell's `&`."""

    def interrupt(number: int, frame: object) -> None:
        for later in _SIGNALS:
            signal.signal(later, signal.SIG_IGN)
        terminal.write("Stopping\n")
        terminal.flush()
        raise KeyboardInterrupt

    for number in _SIGNALS:
        signal.signal(number, interrupt)
    yield


@contextlib.contextmanager
def _nothing_left_behind() -> Iterator[None]:
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
