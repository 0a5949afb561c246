"""An application of its own for a verb that has to ask experts: started, waited for, stopped."""

from __future__ import annotations

import ctypes
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from serve.errors import SetupError
from serve.offline.ask import Endpoint
from serve.settings_file import IMPORT_PATH, read_config

HOST = "127.0.0.1"
PR_SET_PDEATHSIG = 1


@contextmanager
def running(file: Path) -> Iterator[Endpoint]:
    """`serve run` of a settings file without its router, on a free port, until the block ends.

    Its start is told on this terminal. It ends with this process, however that ends.

    Raises:
        SetupError: it did not start; it has said why itself.
    """
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        settings = Path(folder) / file.name
        settings.write_text(yaml.safe_dump(without_router(read_config(file), port)))
        command = [str(Path(sys.executable).with_name("serve")), "run", str(settings)]
        server = subprocess.Popen(command, preexec_fn=_end_with_parent)
        try:
            _wait_until_ready(f"http://{HOST}:{port}/ready", server, file)
            yield Endpoint(f"http://{HOST}:{port}/v1")
        finally:
            server.terminate()
            server.wait()


def without_router(config: dict[str, Any], port: int) -> dict[str, Any]:
    """A Serve config with no router artifact, on that port of the loopback."""
    applications = [
        _plain(application) if application["import_path"] == IMPORT_PATH else application
        for application in config["applications"]
    ]
    http = {**config.get("http_options", {}), "host": HOST, "port": port}
    return {**config, "http_options": http, "applications": applications}


def _plain(application: dict[str, Any]) -> dict[str, Any]:
    arguments = application["args"]
    router = {key: value for key, value in arguments["router"].items() if key != "artifact"}
    return {**application, "args": {**arguments, "router": router}}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _end_with_parent() -> None:
    """SIGTERM on the parent's death: a killed run must not leave engines behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait_until_ready(url: str, server: subprocess.Popen[bytes], file: Path) -> None:
    """As long as it lives: a first start converts or downloads models."""
    while server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=10).close()
            return
        except OSError:
            time.sleep(1)
    raise SetupError(f"{file}: the application did not start; it said why above")
