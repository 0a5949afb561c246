"""A cascade over both real engines: certainty measured, a threshold from it, answers that climb.

A second `serve run` without engines of its own asks those of the shared one, so that its `auto` may
be a cascade while the shared one's is not.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from serve import ports
from tests.e2e.conftest import EXPERTS, ROOT, SERVE, Application
from tests.e2e.test_to_the_cloud import wait

POINTSMAN = Path(sys.executable).with_name("pointsman")
SMALL, LARGE = EXPERTS
MEASURED = 32
"""The least that calibrate takes is 30."""

ASKED = 12
TOKENS = 8


@pytest.fixture(scope="module")
def table(application, tmp_path_factory):
    """What `prepare --certainty` measures on the running experts."""
    folder = tmp_path_factory.mktemp("cascade") / "table"
    command = [POINTSMAN, "prepare", "--prompts", ROOT / "deployments/local/prompts.jsonl"]
    command += ["--limit", str(MEASURED), "--experts", application.file, "--no-likelihood"]
    command += ["--url", f"{application.url}/v1", "--max-tokens", str(TOKENS), "--certainty"]
    done = subprocess.run([*command, "--out", folder], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_engines_say_how_certain_they_are_and_calibrate_judges_it(table):
    mean, least = (pd.read_parquet(table / f"{name}_logprob.parquet") for name in ("mean", "min"))
    assert mean.shape == (MEASURED, 2) and mean.notna().all(axis=None)
    assert (least <= mean).all(axis=None) and (mean <= 0).all(axis=None)
    command = [POINTSMAN, "calibrate", "--table", table, "--tiers", f"{SMALL},{LARGE}"]
    command += ["--signal", "mean_logprob", "--share", "0.5", "--anyway"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    cascade = yaml.safe_load(done.stdout[done.stdout.index("router:") :])["router"]["cascade"]
    assert cascade["tiers"] == EXPERTS
    assert mean[SMALL].min() <= cascade["thresholds"][0] <= mean[SMALL].max()


@pytest.fixture(scope="module")
def climbing(application, table, tmp_path_factory):
    """The application whose `auto` is a cascade, and its threshold: half of the answers pass it."""
    threshold = float(pd.read_parquet(table / "mean_logprob.parquet")[SMALL].median())
    config = yaml.safe_load((ROOT / "deployments/local.yaml").read_text())
    config["http_options"]["port"] = ports.free(0)
    args = config["applications"][0]["args"]
    for expert, price in zip(args["experts"], (1.0, 10.0), strict=True):
        for key in ("model", "engine", "env", "cpus"):
            expert.pop(key, None)
        expert["remote"] = {"url": f"{application.url}/v1"}
        expert["price"] = {"input": price, "output": price}
        expert["abilities"] = {"context": 2048}
        expert["defaults"]["temperature"] = 0
    args["router"]["cascade"] = {
        "tiers": EXPERTS,
        "signal": "mean_logprob",
        "thresholds": [threshold],
    }
    file = tmp_path_factory.mktemp("cascade") / "cascade.yaml"
    file.write_text(yaml.safe_dump(config))
    output = file.with_suffix(".out").open("w")
    process = subprocess.Popen([SERVE, "run", file], cwd=ROOT, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{config['http_options']['port']}"
    try:
        wait(process, f"{url}/ready")
        yield Application(url, file, process, file, ""), threshold
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def prompts():
    lines = (ROOT / "deployments/local/prompts.jsonl").read_text().splitlines()
    return [row["prompt"] for row in map(json.loads, lines) if "prompt" in row][:ASKED]


def question(prompt, **fields):
    messages = [{"role": "user", "content": prompt}]
    return {"model": "auto", "messages": messages, "max_tokens": TOKENS, **fields}


def test_a_certain_answer_is_kept_and_another_is_asked_anew(climbing):
    application, threshold = climbing
    kept = set()
    for prompt in prompts():
        status, answer, headers = application.post("/v1/chat/completions", question(prompt))
        assert status == 200, answer
        small, certainty, *large = re.split(r",? ", headers["x-pointsman-cascade"])
        certain = float(certainty) >= threshold
        assert small == SMALL and large == ([] if certain else [LARGE])
        assert answer["model"] == headers["x-pointsman-expert"] == (SMALL if certain else LARGE)
        usage = answer["usage"]
        own = 1e-6 * (1 if certain else 10) * (usage["prompt_tokens"] + usage["completion_tokens"])
        assert usage["cost_usd"] == pytest.approx(own) if certain else usage["cost_usd"] > own
        assert [choice.get("logprobs") for choice in answer["choices"]] == [None]
        kept.add(certain)
    assert kept == {True, False}


def test_a_stream_holds_until_the_decision_and_is_one_answer(climbing):
    application, _ = climbing
    models = set()
    for prompt in prompts():
        body = question(prompt, stream=True, stream_options={"include_usage": True})
        status, text = application.raw("/v1/chat/completions", json.dumps(body))
        assert status == 200 and text.endswith("data: [DONE]\n\n")
        lines = text.split("\n")
        chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        (model,) = {chunk["model"] for chunk in chunks}
        assert not any(choice.get("logprobs") for chunk in chunks for choice in chunk["choices"])
        assert chunks[-1]["usage"]["cost_usd"] > 0
        models.add(model)
    assert models == {SMALL, LARGE}


def test_a_client_that_asks_for_logprobs_gets_its_own(climbing):
    application, _ = climbing
    body = question(prompts()[0], logprobs=True, top_logprobs=2)
    _, answer, _ = application.post("/v1/chat/completions", body)
    tokens = answer["choices"][0]["logprobs"]["content"]
    assert tokens and all(len(token["top_logprobs"]) == 2 for token in tokens)
