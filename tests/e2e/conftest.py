"""The real application, started once a session: real Ray, real vLLM, both real models."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import openai
import psutil
import pytest
import yaml

from tests.online.collector import over_http

ROOT = Path(__file__).parents[2]
SERVE = Path(sys.executable).with_name("serve")
START_TIMEOUT_S = 500
STOP_TIMEOUT_S = 90
ANSWER_TIMEOUT_S = 120


@dataclass
class Application:
    """A running `serve run`."""

    url: str
    file: Path
    process: subprocess.Popen[str]
    log: Path
    database: str

    @property
    def dashboard(self) -> str:
        """Where Ray's REST API is, as `serve run` tells a person."""
        told = self.file.with_suffix(".out").read_text()
        return re.findall(r"Ray dashboard: (http://\S+)", told)[-1]

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.url + path, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def live(self) -> dict:
        """/v1/live."""
        status, told = self.get("/v1/live")
        assert status == 200, told
        return json.loads(told)

    def post(self, path: str, body: object, **headers: str) -> tuple[int, dict, dict]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method="POST")
        for name, value in {"content-type": "application/json", **headers}.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as answer:
                return answer.status, json.load(answer), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error), dict(error.headers)

    def raw(self, path: str, text: str) -> tuple[int, str]:
        status, answer, _ = self.text(path, text)
        return status, answer

    def text(self, path: str, text: str) -> tuple[int, str, dict]:
        request = urllib.request.Request(self.url + path, data=text.encode(), method="POST")
        request.add_header("content-type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as answer:
                return answer.status, answer.read().decode(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(), dict(error.headers)

    def processes(self) -> list[psutil.Process]:
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]

    def stop(self) -> list[psutil.Process]:
        """SIGTERM; the processes that are left."""
        started = self.processes()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(STOP_TIMEOUT_S)
        _, left = psutil.wait_procs(started, timeout=5)
        return left


@pytest.fixture(scope="session")
def collected():
    """What the application's OTLP collector is sent."""
    with over_http() as collected:
        yield collected


@pytest.fixture(scope="session")
def application(tmp_path_factory, collected):
    config = yaml.safe_load((ROOT / "deployments/local.yaml").read_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = config["http_options"]["port"] = free.getsockname()[1]
    file = tmp_path_factory.mktemp("e2e") / "local.yaml"
    log, database = file.with_name("requests.jsonl"), f"sqlite:///{file.parent}/feedback.sqlite"
    records = {"log": str(log), "database": database, "prompts": True}
    config["applications"][0]["args"] |= {
        "records": records,
        "tracing": {"endpoint": collected.endpoint},
    }
    file.write_text(yaml.safe_dump(config))
    output = file.with_suffix(".out").open("w+")
    process = subprocess.Popen(
        [SERVE, "run", file], cwd=ROOT, stdout=output, stderr=output, text=True
    )
    running = Application(f"http://127.0.0.1:{port}", file, process, log, database)
    deadline = time.monotonic() + START_TIMEOUT_S
    while not _ready(running):
        if process.poll() is not None or time.monotonic() > deadline:
            output.seek(0)
            process.send_signal(signal.SIGTERM) if process.poll() is None else None
            pytest.fail(f"the application did not start:\n{output.read()[-3000:]}")
        time.sleep(2)
    yield running
    if process.poll() is None:
        assert running.stop() == []


def _ready(running: Application) -> bool:
    try:
        return running.get("/ready")[0] == 200
    except OSError:
        return False


@pytest.fixture(scope="session")
def client(application):
    return openai.OpenAI(
        base_url=f"{application.url}/v1", api_key="none", max_retries=0, timeout=ANSWER_TIMEOUT_S
    )


EXPERTS = ["smollm2-135m", "gemma-3-270m"]


@pytest.fixture(params=["auto", *EXPERTS])
def model(request):
    return request.param
