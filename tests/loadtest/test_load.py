"""python -m loadtest.load as its users run it: real Locust, real HTTP, the fake endpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from loadtest import load as application
from loadtest.report import samples
from tests.fake_endpoint import fake_endpoint

ROOT = Path(__file__).parents[2]
PAUSE_S = 0.02


def load(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "loadtest.load", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        timeout=120,
    )


@pytest.fixture(scope="module")
def endpoint():
    with fake_endpoint() as fake:
        yield fake


@pytest.fixture(scope="module")
def met(endpoint, tmp_path_factory):
    """A load of 4 s whose objectives are met, and where its report is."""
    folder = tmp_path_factory.mktemp("met")
    wanted = folder / "objectives.yaml"
    wanted.write_text(
        "objectives: {ttft_p95_s: 5, tokens_per_s: 1, error_rate: 0, usd_per_1000_requests: 1}\n"
        "slo: {ttft_s: 0.03}\n"
        "prices: {slow-1: {input: 1, output: 2}}\n"
    )
    out = folder / "out"
    asked = ("--url", endpoint.url, "--model", "slow-1", "--objectives", wanted, "--out", out)
    return load(*asked, "--minutes", 4 / 60, "--levels", "1,4", "--sessions", 0.5), out


def test_a_load_within_its_objectives_ends_in_0(met):
    ended, out = met
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "| ttft_p95_s | at most 5 |" in ended.stdout
    assert "all 4 objectives are met" in ended.stdout
    results = json.loads((out / "results.json").read_text())
    assert results["share"] == {"slow-1": 1.0}
    assert [objective["met"] for objective in results["objectives"]] == [True] * 4


def test_results_are_those_of_the_raw_samples(met):
    _, out = met
    results, taken = (
        json.loads((out / "results.json").read_text()),
        samples.read(out / "samples.jsonl"),
    )
    assert results["requests"] == results["answers"] == len(taken) > 10
    # Before its first token the model pauses twice, before each later event once.
    assert min(sample.ttft_s for sample in taken) >= 2 * PAUSE_S
    assert 2 * PAUSE_S <= results["measured"]["ttft_p50_s"] < 2 * PAUSE_S + 0.5
    # None has its first token within 0.03 s.
    assert results["measured"]["goodput_share"] == 0
    assert results["measured"]["usd_per_1000_requests"] > 0


def test_single_questions_and_conversations_are_asked_by_more_users_at_each_step(met):
    _, out = met
    taken = samples.read(out / "samples.jsonl")
    turns = {sample.turn for sample in taken}
    assert None in turns and {1, 2} <= turns
    assert max(sample.sent_s for sample in taken) < 4
    first = [sample for sample in taken if sample.sent_s < 2]
    assert len(taken) - len(first) > 2 * len(first)


def test_locusts_own_report_has_the_metrics_as_rows_beside_requests(met):
    _, out = met
    page, log = (out / "report.html").read_text(), (out / "locust.log").read_text()
    assert 'href="locust.html"' in page
    assert "ttft ms" in (out / "locust.html").read_text()
    rows = {" ".join(line.split()[:2]): line.split() for line in log.splitlines() if "(" in line}
    assert {"METRIC ttft", "METRIC tpot", "METRIC tokens/s", "METRIC usd"} <= set(rows)
    # Aggregated is that of requests alone.
    (total,) = [line.split()[1] for line in log.splitlines() if line.split()[:1] == ["Aggregated"]][
        :1
    ]
    assert int(total) == len(samples.read(out / "samples.jsonl"))


def test_a_missed_objective_ends_in_1_and_what_was_not_measured_is_missed(endpoint, tmp_path):
    ended = load(
        *("--url", endpoint.url, "--model", "broken", "--out", tmp_path),
        *("--shape", "spike", "--minutes", 2 / 60),
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "| error_rate | at most 0.01 | 1 | missed |" in ended.stdout
    assert "| ttft_p95_s | at most 5 | nothing | missed |" in ended.stdout
    assert "| HTTP 500: engine died |" in ended.stdout


def test_what_pointsman_says_is_measured_and_the_variables_are_read(endpoint, tmp_path):
    ended = load(
        *("--out", tmp_path, "--shape", "steady", "--levels", "2", "--minutes", 2 / 60),
        LOADTEST_URL=endpoint.url,
        LOADTEST_MODEL="auto",
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["measured"]["decision_p95_ms"] == 12.5
    assert results["measured"]["usd_per_1000_requests"] == pytest.approx(0.002)
    assert results["share"] == {"small": 1.0}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--objectives", "{folder}/misspelt.yaml"], "ttft_p59_s is not measured"),
        (["--url", "http://192.0.2.1/v1"], "--anywhere"),
        (["--url", "http://127.0.0.1:1/v1"], "nothing answers at http://127.0.0.1:1/v1/models"),
        (["--prompts", "{folder}/none.jsonl"], "none.jsonl cannot be read"),
        (["--levels", "none"], "--levels must be"),
    ],
)
def test_what_must_be_mended_first_is_one_line_and_ends_in_2(tmp_path, words, told):
    (tmp_path / "misspelt.yaml").write_text("objectives: {ttft_p59_s: 5}")
    ended = load(*(word.format(folder=tmp_path) for word in words))
    assert ended.returncode == 2
    assert told in ended.stderr and ended.stderr.count("\n") == 1


def test_where_nothing_answers_an_application_without_records_is_started(monkeypatch):
    started = []

    @contextmanager
    def running(file, change):
        args = {"records": {"log": "requests.jsonl"}, "experts": []}
        change(args)
        started.append((file, args))
        yield "http://127.0.0.1:7", 1

    monkeypatch.setattr(application, "running", running)
    monkeypatch.setattr(application, "URL", "http://127.0.0.1:1/v1")
    with application._endpoint(None) as url:
        assert url == "http://127.0.0.1:7/v1"
    assert started == [(Path("deployments/local.yaml"), {"experts": []})]


def test_the_standard_library_stays_as_it_is_in_every_process_but_locusts():
    code = "import sys, loadtest.load; print({'gevent', 'locust'} & set(sys.modules))"
    run = [sys.executable, "-c", code]
    ended = subprocess.run(run, capture_output=True, text=True, cwd=ROOT)
    assert ended.stdout.strip() == "set()", ended.stderr
