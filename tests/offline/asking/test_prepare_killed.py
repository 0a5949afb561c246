"""The real command, killed at random moments and run again, ends with the same table."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time

import pandas as pd
import pytest

from tests.fake_endpoint import fake_endpoint
from tests.offline.asking.files import prompts_file, settings_file

KILLS = 10
TIMINGS = ("ttft_s", "latency_s")


@pytest.fixture(scope="module")
def endpoint():
    with fake_endpoint() as fake:
        yield fake


def finished(journal):
    """(expert, prompt id) of every whole line with an answer."""
    lines = journal.read_bytes().split(b"\n")[1:-1] if journal.exists() else []
    return {(a["expert"], a["prompt"]) for a in map(json.loads, lines) if a["error"] is None}


def test_killed_ten_times_it_loses_nothing_and_asks_nothing_twice(endpoint, tmp_path, repository):
    experts = settings_file(tmp_path, "slow-1", "slow-2")
    prompts = prompts_file(tmp_path, 40)

    def run(out):
        code = "from serve.cli import main; main()"
        words = ["prepare", "--prompts", prompts, "--experts", experts, "--out", out]
        words += ["--url", endpoint.url, "--concurrency", 2]
        return subprocess.Popen(
            [sys.executable, "-c", code, *map(str, words)],
            cwd=repository,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    whole = run(tmp_path / "whole")
    rng, out = random.Random(0), tmp_path / "killed"
    assert whole.wait() == 0
    done_at: dict[tuple[str, str], int] = {}
    counts = []
    for kill in range(KILLS):
        endpoint.asked.clear()
        process = run(out)
        while not endpoint.asked and process.poll() is None:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        process.wait()
        counts.append(set(endpoint.asked))
        for cell in finished(out / "journal.jsonl"):
            done_at.setdefault(cell, kill)
    assert 0 < len(done_at) < 80, "the kills fell while there was something left to ask"
    endpoint.asked.clear()
    assert run(out).wait() == 0
    counts.append(set(endpoint.asked))
    for (expert, prompt), kill in done_at.items():
        text = f"What is {prompt[1:]}?"
        assert not any((expert, text) in later for later in counts[kill + 1 :])
    for file in sorted((tmp_path / "whole").glob("*.parquet")):
        ours, theirs = pd.read_parquet(out / file.name), pd.read_parquet(file)
        if file.stem in TIMINGS:
            assert ours.notna().equals(theirs.notna())
        else:
            pd.testing.assert_frame_equal(ours, theirs)
