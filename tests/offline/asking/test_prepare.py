"""prepare from prompts to table, asking a fake endpoint."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

from serve.cli import main
from serve.offline.asking import retry
from serve.offline.asking.grade import GRADERS
from serve.offline.table import RoutingTable
from tests.fake_endpoint import answer, fake_endpoint
from tests.offline.asking.files import prompts_file, settings_file


@pytest.fixture(scope="module")
def endpoint():
    with fake_endpoint() as fake:
        yield fake


@pytest.fixture(autouse=True)
def _fast(monkeypatch, endpoint):
    """No second of backoff, and no encoder."""
    plain = {name: GRADERS[name] for name in ("exact", "choice")}
    monkeypatch.setattr("serve.offline.asking.cells.GRADERS", plain)
    monkeypatch.setattr(retry, "BACKOFF_S", 0.01)
    endpoint.asked.clear()


@pytest.fixture
def prepare(monkeypatch, tmp_path, endpoint):
    """Run the verb; the folder it wrote."""

    def typed(experts, *words, source=None):
        out = tmp_path / "table"
        source = source or ["--prompts", prompts_file(tmp_path, 12)]
        arguments = ["prepare", *source, "--experts", settings_file(tmp_path, *experts)]
        arguments += ["--out", out, "--url", endpoint.url, "--quality", "exact"]
        arguments += ["--timeout", 1.5, "--tries", 2, *words]
        monkeypatch.setattr("sys.argv", ["pointsman", *map(str, arguments)])
        main()
        return out

    return typed


def cells(out, stem):
    return pd.read_parquet(out / f"{stem}.parquet")


def test_a_table_holds_what_was_measured_of_every_cell(prepare):
    table = RoutingTable.load(prepare(["good", "other"]))
    even = np.arange(12) % 2 == 0
    assert table.experts == ["good", "other"]
    assert table.quality["good"].tolist() == even.astype(float).tolist()
    assert table.quality["other"].tolist() == (~even).astype(float).tolist()
    tensors = table.tensors
    assert tensors["answers"].loc["p3", "good"] == answer("good", "What is 3?")
    tokens = tensors["in_tokens"] + 2 * tensors["out_tokens"]
    pd.testing.assert_frame_equal(tensors["cost_usd"], tokens / 1e6)
    assert (tensors["ttft_s"] <= tensors["latency_s"]).all(axis=None)
    assert tensors["nll"].notna().all(axis=None)
    assert tensors["choice"].isna().all(axis=None)
    assert tensors["errors"].isna().all(axis=None)
    assert table.meta["grader"] == "exact" and table.meta["max_tokens"] == 96
    assert table.prompts["answer"].notna().all()


def test_faults_cost_their_own_cells_which_are_nan_with_a_reason(prepare, capsys):
    experts = ["good", "broken", "hanging", "garbage-text", "small"]
    out = prepare(experts, "--concurrency", 8)
    reasons = cells(out, "errors")
    assert reasons["good"].isna().all() and cells(out, "quality")["good"].notna().all()
    for expert, reason in {
        "broken": "HTTP 500: engine died",
        "hanging": "no answer within 1.5 s",
        "garbage-text": "broken stream",
    }.items():
        assert reasons[expert].str.contains(reason).all()
        for stem in ("quality", "cost_usd", "in_tokens", "ttft_s", "latency_s", "nll", "exact"):
            assert cells(out, stem)[expert].isna().all()
        assert cells(out, "answers")[expert].isna().all()
    assert reasons["small"].isna().all()
    said = capsys.readouterr().out
    assert "36 of 60 answers failed and are NaN" in said
    assert re.search(r"broken +12  p\d+ +HTTP 500: engine died\n", said)


def test_a_prompt_too_long_for_an_expert_is_one_nan(prepare, tmp_path, capsys):
    file = prompts_file(tmp_path, 12)
    long = {"prompt": "word " * 30, "reference": "x"}
    file.write_text(file.read_text() + "\n" + json.dumps(long))
    quality = cells(prepare(["good", "small"], source=["--prompts", file]), "quality")
    assert quality["small"].isna().sum() == 1 and quality["good"].notna().all()
    assert "small" in capsys.readouterr().out


def test_again_nothing_is_asked_but_what_failed(prepare, tmp_path, endpoint):
    experts, source = ["good", "flaky"], ["--prompts", prompts_file(tmp_path, 6)]
    out = prepare(experts, "--tries", 1, source=source)
    assert cells(out, "errors")["flaky"].notna().all()
    first = endpoint.asked.copy()
    prepare(experts, "--tries", 1, source=source)
    assert {model for model, _ in endpoint.asked - first} == {"flaky"}
    assert cells(out, "quality").notna().all(axis=None)
    done = endpoint.asked.copy()
    prepare(experts, source=source)
    assert endpoint.asked == done


def test_an_expert_may_join_or_leave_without_the_others_being_asked_again(prepare, endpoint):
    prepare(["good", "broken"])
    first = endpoint.asked.copy()
    out = prepare(["good", "other"])
    assert {model for model, _ in endpoint.asked - first} == {"other"}
    assert list(cells(out, "quality")) == ["good", "other"]
    assert cells(out, "errors").isna().all(axis=None)


def test_no_answer_at_all_is_one_line_and_exit_status_2(prepare, capsys):
    with pytest.raises(SystemExit) as ended:
        prepare(["broken"])
    assert ended.value.code == 2
    assert "no expert answered any prompt; the first: HTTP 500" in capsys.readouterr().err


def test_prompts_without_reference_are_refused_before_anything_is_asked(
    prepare, tmp_path, endpoint
):
    file = tmp_path / "bare.jsonl"
    file.write_text('{"prompt": "What is 1?"}\n{"prompt": "What is 2?", "reference": "x"}')
    with pytest.raises(SystemExit):
        prepare(["good"], source=["--prompts", file])
    with pytest.raises(SystemExit):
        prepare(["good"], "--reference", "better", source=["--prompts", file])
    assert not endpoint.asked


def test_a_log_is_asked_with_one_expert_as_the_reference(prepare, tmp_path, capsys):
    log = tmp_path / "requests.jsonl"
    chats = [[{"role": "user", "content": f"What is {i % 6}?"}] for i in range(8)]
    lines = [{"time": 1, "model": "auto", "expert": "good", "messages": chat} for chat in chats]
    log.write_text("\n".join(map(json.dumps, [*lines, {"time": 2, "model": "auto"}])))
    table = RoutingTable.load(
        prepare(["good", "other"], "--reference", "good", source=["--from-log", log])
    )
    assert "6 different prompts in 9 lines; 2 came again, 1 have no messages" in (
        capsys.readouterr().out
    )
    assert table.quality["good"].tolist() == [1.0] * 6
    assert table.quality["other"].tolist() == [0.0] * 6
    assert "good" in table.meta["reference"]


def test_a_log_without_messages_says_which_setting_logs_them(prepare, tmp_path, capsys):
    log = tmp_path / "requests.jsonl"
    log.write_text('{"time": 1, "model": "auto"}\n')
    with pytest.raises(SystemExit):
        prepare(["good"], "--reference", "good", source=["--from-log", log])
    assert "records.prompts: true" in capsys.readouterr().err


def test_the_certainty_of_answers_is_kept_where_it_is_asked_for(prepare):
    plain = RoutingTable.load(prepare(["good"]))
    assert not {"mean_logprob", "min_logprob", "margin"} & plain.tensors.keys()
    # A journal without it reads on, and what it holds is not asked again.
    table = RoutingTable.load(prepare(["good", "other"], "--certainty"))
    for stem in ("mean_logprob", "min_logprob", "margin"):
        assert table.tensors[stem]["good"].isna().all()
        assert table.tensors[stem]["other"].notna().all()
    assert (table.tensors["min_logprob"]["other"] == -table.tensors["out_tokens"]["other"]).all()
