"""deployments/edge.yaml: a real local expert, and a real vLLM server for the cloud.

Runs after test_stop.py: the machine does not hold both applications.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
import yaml

from serve import weights
from serve.hardware import cpu_dtype
from serve.settings_file import read_config, settings_of
from tests.e2e.conftest import ROOT, SERVE, START_TIMEOUT_S, Application

CHAT = "/v1/chat/completions"
SMALL, CLOUD = "smollm2-135m", "gemma-3-270m"
KEY = "sk-of-the-cloud"
PROMPTS = [
    row["prompt"]
    for row in map(json.loads, (ROOT / "deployments/local/prompts.jsonl").open())
    if row["split"] == "test" and "prompt" in row
]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait(process, url, headers=()):
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers)), timeout=5)
            return
        except OSError:
            time.sleep(1)
    pytest.fail(f"{url} does not answer")


def cloud_server():
    """A bare vLLM with Gemma behind a key, as a stranger would run it."""
    file = ROOT / "deployments/local.yaml"
    gemma = settings_of(read_config(file), file).experts[1]
    port = free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", weights.resolve(gemma.here), "--served-model-name", CLOUD]
    command += ["--port", str(port), "--host", "127.0.0.1", "--api-key", KEY]
    command += ["--dtype", cpu_dtype(), "--max-model-len", "2048", "--enforce-eager"]
    command += ["--kv-cache-memory-bytes", "536870912"]
    process = subprocess.Popen(
        command,
        env={**os.environ, **gemma.env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return process, f"http://127.0.0.1:{port}/v1"


def kill_cloud(cloud):
    """All of its processes: vLLM's engine outlives the death of its server, with its memory."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(cloud.pid, signal.SIGKILL)
    cloud.wait()


@pytest.fixture(scope="module")
def edge(tmp_path_factory):
    """The application, and the process of its cloud."""
    cloud, url = cloud_server()
    config = yaml.safe_load((ROOT / "deployments/edge.yaml").read_text())
    port = config["http_options"]["port"] = free_port()
    args = config["applications"][0]["args"]
    args["experts"][1]["remote"]["url"] = url
    args["limits"]["cooldown_s"] = 1
    file = tmp_path_factory.mktemp("edge") / "edge.yaml"
    file.write_text(yaml.safe_dump(config))
    output = file.with_suffix(".out").open("w")
    process = subprocess.Popen(
        [SERVE, "run", file],
        cwd=ROOT,
        stdout=output,
        stderr=output,
        env={**os.environ, "POINTSMAN_CLOUD_KEY": KEY},
    )
    application = Application(f"http://127.0.0.1:{port}", file, process, file, "")
    try:
        wait(cloud, f"{url}/models", {"authorization": f"Bearer {KEY}"}.items())
        wait(process, f"{application.url}/ready")
        yield application, cloud
    finally:
        kill_cloud(cloud)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def ask(application, prompt, **fields):
    messages = [{"role": "user", "content": prompt}]
    body = {"model": "auto", "messages": messages, "max_tokens": 4} | fields
    return application.post(CHAT, body)


def test_both_answer_each_where_it_is_predicted_to_be_good_enough(edge):
    application, _ = edge
    picked = set()
    for prompt in PROMPTS[:24]:
        status, answer, headers = ask(application, prompt, routing={"explain": True})
        assert status == 200, answer
        expert, rows = headers["x-pointsman-expert"], answer["routing"]["experts"]
        quality = {row["id"]: row["quality"] for row in rows}
        assert answer["model"] == expert
        near = quality[SMALL] >= max(quality.values()) - 0.03
        assert (expert == SMALL) == near, rows
        picked.add(expert)
    assert picked == {SMALL, CLOUD}


def test_a_stream_from_the_cloud_is_whole_and_billed(edge):
    application, _ = edge
    messages = [{"role": "user", "content": "Which river flows through Vienna?"}]
    body = {"model": CLOUD, "messages": messages, "max_tokens": 4, "stream": True}
    body["stream_options"] = {"include_usage": True}
    status, text = application.raw(CHAT, json.dumps(body))
    *chunks, usage = [json.loads(line[6:]) for line in text.split("\n") if line[:7] == "data: {"]
    assert status == 200 and text.endswith("data: [DONE]\n\n")
    assert {chunk["model"] for chunk in chunks} == {CLOUD}
    assert usage["usage"]["cost_usd"] > 0


@pytest.mark.parametrize("private", [{"private": True}, {"tags": ["patient"]}])
def test_what_is_private_never_leaves(edge, private):
    application, _ = edge
    for prompt in PROMPTS[:12]:
        _, _, headers = ask(application, prompt, routing=private)
        assert headers["x-pointsman-expert"] == SMALL
    status, answer, _ = ask(application, "x", model=CLOUD, routing=private)
    assert status == 400 and answer["error"]["param"] == "model"


def test_without_the_cloud_the_local_expert_answers_and_says_so(edge):
    application, cloud = edge
    kill_cloud(cloud)
    answers = [ask(application, prompt) for prompt in PROMPTS[:24]]
    assert [status for status, _, _ in answers] == [200] * 24
    assert {headers["x-pointsman-expert"] for _, _, headers in answers} == {SMALL}
    told = [h["x-pointsman-fallback"] for _, _, h in answers if "x-pointsman-fallback" in h]
    assert told and all(line.startswith(CLOUD) for line in told)
    assert KEY not in "".join(told)
