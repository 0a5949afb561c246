"""Another router in a running application: promoted, refused, watched and tried on a share."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml

from serve.request_log import read_log
from serve.routing import artifact
from serve.routing.constant import ConstantPredictor
from tests.e2e.conftest import EXPERTS, ROOT, SERVE
from tests.e2e.test_routing import EXPORT_S, metric, prompts

POINTSMAN = Path(sys.executable).with_name("pointsman")
SHIPPED = ROOT / "deployments/local/router"
CLIENTS = 2
"""Enough to keep both experts at work: about 60 % of what two cores sustain."""


def pointsman(*arguments) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [POINTSMAN, *map(str, arguments)], capture_output=True, text=True, cwd=ROOT, timeout=200
    )


def ask(application, text="Name a colour."):
    body = {"model": "auto", "messages": [{"role": "user", "content": text}], "max_tokens": 4}
    status, answer, headers = application.post("/v1/chat/completions", body)
    return status, answer, headers


@pytest.fixture(scope="module")
def always_gemma(tmp_path_factory):
    """A router of one opinion, on the shipped one's encoder."""
    shipped = artifact.load(SHIPPED)
    folder = tmp_path_factory.mktemp("artifacts") / "gemma"
    quality = np.array([0.1, 0.9], dtype=np.float32)
    artifact.save(
        folder,
        ConstantPredictor(EXPERTS, quality, np.full(2, 20, np.float32)),
        name="gemma",
        encoder=shipped.encoder,
        dimension=shipped.dimension,
        table="made for a test",
        trained={},
    )
    return folder


class Load:
    """Clients that ask without a pause until the block ends, and one that only has decisions made.

    Attributes:
        answers: status and router of each answer, in order.
        decisions: the same of /v1/route, a hundred times as many.
    """

    def __init__(self, application):
        self._application, self._stop = application, threading.Event()
        self.answers: list[tuple[int, str]] = []
        self.decisions: list[tuple[int, str]] = []
        clients = [self._client] * CLIENTS + [self._decider]
        self._threads = [threading.Thread(target=client) for client in clients]

    def _client(self):
        while not self._stop.is_set():
            status, _, headers = ask(self._application)
            self.answers.append((status, headers.get("x-pointsman-router", "")))

    def _decider(self):
        body = {"messages": [{"role": "user", "content": "Name a colour."}]}
        while not self._stop.is_set():
            status, decision, _ = self._application.post("/v1/route", body)
            self.decisions.append((status, decision.get("router", "")))
            time.sleep(0.02)

    def more(self, answers: int) -> None:
        """Wait for so many more answers."""
        wanted = len(self.answers) + answers
        until(lambda: len(self.answers) >= wanted)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.more(CLIENTS)
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()


def serving(application) -> list[dict]:
    status, text = application.get("/v1/router")
    assert status == 200
    return json.loads(text)["replicas"]


def test_every_replica_says_what_it_serves(application):
    replicas = serving(application)
    assert len(replicas) == 1
    assert replicas[0]["router"] == artifact.load(SHIPPED).label
    assert replicas[0]["challenger"] is None and replicas[0]["refused"] is None


def test_promote_under_load_drops_no_request(application, always_gemma):
    old, new = artifact.load(SHIPPED).label, artifact.load(always_gemma).label
    with Load(application) as load:
        told = pointsman("promote", always_gemma, "--dashboard", application.dashboard)
        assert told.returncode == 0, told.stderr
        asked, decided = len(load.answers), len(load.decisions)
        load.more(4 * CLIENTS)
    assert set(load.answers) | set(load.decisions) == {(200, old), (200, new)}
    # Once the command is back every replica serves it: only requests under way may still be old.
    assert set(load.answers[asked + CLIENTS :]) == {(200, new)}
    assert set(load.decisions[decided + 1 :]) == {(200, new)}
    print(f"{len(load.answers)} answers and {len(load.decisions)} decisions while promoting")
    assert "logged requests;" in told.stdout and f"then {new}" in told.stdout
    assert f"serves {new}" in told.stdout
    assert ask(application)[2]["x-pointsman-expert"] == EXPERTS[1]


def test_a_broken_artifact_is_refused_before_anything_changes(application, always_gemma, tmp_path):
    now = serving(application)
    broken = tmp_path / "broken"
    shutil.copytree(SHIPPED, broken)
    (broken / "arrays.safetensors").write_bytes(b"half of i")
    told = pointsman("promote", broken, "--dashboard", application.dashboard)
    assert told.returncode == 2
    assert "is not the file its manifest pins" in told.stderr and told.stderr.count("\n") == 1
    assert serving(application) == now


def deploy(application, file: Path, artifact: Path) -> None:
    """`serve deploy` of the settings file with another artifact in it."""
    config = yaml.safe_load(application.file.read_text())
    ingress = {"name": "RouterIngress", "user_config": {"artifact": str(artifact)}}
    config["applications"][0]["deployments"] = [ingress]
    file.write_text(yaml.safe_dump(config))
    subprocess.run(
        [SERVE, "deploy", file, "--address", application.dashboard],
        cwd=ROOT, check=True, capture_output=True, timeout=120,
    )  # fmt: skip


def test_replicas_refuse_what_serve_deploy_brings_and_serve_on(application, always_gemma, tmp_path):
    label = artifact.load(always_gemma).label
    with Load(application) as load:
        deploy(application, tmp_path / "broken.yaml", tmp_path / "nowhere")
        until(lambda: all(replica["refused"] for replica in serving(application)))
        (replica,) = serving(application)
        assert "no router artifact here" in replica["refused"]
        assert replica["router"] == label
        deploy(application, tmp_path / "mended.yaml", always_gemma)
        until(lambda: not any(replica["refused"] for replica in serving(application)))
    assert set(load.answers) | set(load.decisions) == {(200, label)}


def test_a_shadow_is_watched_and_never_acts(application, always_gemma):
    compared = metric(application, "pointsman_challenger_compared_total")
    told = pointsman(
        "promote", SHIPPED, "--share", 0, "--last", 0, "--dashboard", application.dashboard
    )
    assert told.returncode == 0, told.stderr
    assert serving(application)[0]["challenger"] == artifact.load(SHIPPED).label
    answers = [ask(application, text) for text in prompts()[::20][:6]]
    label = artifact.load(always_gemma).label
    assert {headers["x-pointsman-router"] for _, _, headers in answers} == {label}
    until(lambda: metric(application, "pointsman_challenger_compared_total") == compared + 6)
    assert 0 < metric(application, "pointsman_challenger_differs_total") <= compared + 6
    assert metric(application, "pointsman_challenger_regret_total") > 0


def test_a_canary_decides_its_share(application, always_gemma):
    told = pointsman(
        "promote", SHIPPED, "--share", 0.5, "--last", 0, "--dashboard", application.dashboard
    )
    assert told.returncode == 0, told.stderr
    answers = [ask(application) for _ in range(24)]
    routers = Counter(headers["x-pointsman-router"] for _, _, headers in answers)
    assert set(routers) == {artifact.load(SHIPPED).label, artifact.load(always_gemma).label}


def test_the_log_tells_each_request_and_who_decided(application):
    _, answer, headers = ask(application, "Which colour is the sky?")
    until(lambda: logged(application, headers["x-request-id"]))
    record = logged(application, headers["x-request-id"])
    assert record["expert"] == headers["x-pointsman-expert"] == answer["model"]
    assert record["router"] == headers["x-pointsman-router"]
    assert record["messages"] == [{"role": "user", "content": "Which colour is the sky?"}]
    assert {row["id"] for row in record["experts"]} == set(EXPERTS)


def test_promoting_the_shipped_router_again_ends_the_comparison(application):
    told = pointsman("promote", SHIPPED, "--dashboard", application.dashboard)
    assert told.returncode == 0, told.stderr
    (replica,) = serving(application)
    assert replica["router"] == artifact.load(SHIPPED).label
    assert replica["challenger"] is None


def logged(application, request_id):
    records = list(read_log(application.log))
    return next((r for r in records if r["request_id"] == request_id), None)


def until(true, timeout=4 * EXPORT_S):
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.5)
