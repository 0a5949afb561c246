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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from serve.errors import SetupError
from serve.offline.asking.ask import Endpoint
from serve.settings_file import IMPORT_PATH

HOST = "127.0.0.1"
PR_SET_PDEATHSIG = 1


@contextmanager
def running(config: Mapping[str, Any], name: str) -> Iterator[Endpoint]:
    """`serve run` of a Serve config without its router, on a free port, until the block ends.

    Its start is told on this terminal. It ends with this process, however that ends.

    Args:
        config: of an application of ours.
        name: of the settings file, for messages.

    Raises:
        SetupError: it did not start; it has said why itself.
    """
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        settings = Path(folder) / name
        settings.write_text(yaml.safe_dump(without_router(config, port)))
        command = [str(Path(sys.executable).with_name("serve")), "run", str(settings)]
        server = subprocess.Popen(command, preexec_fn=_end_with_parent)
        try:
            _wait_until_ready(f"http://{HOST}:{port}/ready", server, name)
            yield Endpoint(f"http://{HOST}:{port}/v1")
        finally:
            server.terminate()
            server.wait()


def of_one_expert(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The Serve config of an application with one expert; `entry` as in `experts[]`."""
    arguments = {"experts": [entry], "router": {}}
    application = {"name": "pointsman", "import_path": IMPORT_PATH, "args": arguments}
    return {"proxy_location": "HeadOnly", "applications": [application]}


def without_router(config: Mapping[str, Any], port: int) -> dict[str, Any]:
    """A Serve config without records, keys and a router artifact, on that loopback port."""
    applications = [
        _plain(application) if application["import_path"] == IMPORT_PATH else application
        for application in config["applications"]
    ]
    http = {**config.get("http_options", {}), "host": HOST, "port": port}
    return {**config, "http_options": http, "applications": applications}


_LEARNED = ("artifact", "cascade")


def _plain(application: dict[str, Any]) -> dict[str, Any]:
    arguments = {
        key: application["args"][key] for key in ("experts", "limits") if key in application["args"]
    }
    router = {k: v for k, v in application["args"]["router"].items() if k not in _LEARNED}
    plain = {key: value for key, value in application.items() if key != "deployments"}
    return {**plain, "args": {**arguments, "router": router}}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _end_with_parent() -> None:
    """SIGTERM on the parent's death: a killed run must not leave engines behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait_until_ready(url: str, server: subprocess.Popen[bytes], name: str) -> None:
    """As long as it lives: a first start converts or downloads models."""
    while server.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=10).close()
            return
        except OSError:
            time.sleep(1)
    raise SetupError(f"{name}: the application did not start; it said why above")
