from __future__ import annotations

import json

import pytest

from serve.errors import SettingsError
from serve.offline.replay import logged_queries, replay
from serve.protocol import Query
from tests.routing.test_pipeline import pipeline
from tests.routing.test_rollout import Contrary


def log(tmp_path, *records):
    file = tmp_path / "requests.jsonl"
    file.write_text("\n".join(json.dumps(record) for record in records))
    return file


def chat(text, **more):
    return {"model": "auto", "messages": [{"role": "user", "content": text}], **more}


def test_the_last_routed_requests_are_read_as_the_gateway_read_them(tmp_path):
    file = log(
        tmp_path,
        chat("first"),
        chat("an expert's own", model="small"),
        chat("second", max_tokens=7),
        {"model": "auto", "prompt": "third", "max_tokens": None},
    )
    queries = logged_queries(file, 2)
    assert [(q.text, q.max_output_tokens) for q in queries] == [("second", 7), ("third", None)]
    assert len(logged_queries(file, 99)) == 3


def test_a_log_without_prompts_says_which_setting_keeps_them(tmp_path):
    file = log(tmp_path, {"model": "auto", "request_id": "1"})
    with pytest.raises(SettingsError, match=r"1 routed requests, .* records.prompts: true"):
        logged_queries(file, 10)
    with pytest.raises(SettingsError, match="no request log here"):
        logged_queries(tmp_path / "none.jsonl", 10)


def test_the_same_router_changes_nothing(fake_encoder, pool):
    queries = [Query(f"question {i}", 5) for i in range(20)]
    served = pipeline(fake_encoder, pool)
    text = replay(queries, served, served)
    assert text.startswith("20 logged requests; 0 would go to another expert")


def test_shares_and_predictions_of_both_stand_side_by_side(fake_encoder, pool):
    queries = [Query(f"question {i}", 5) for i in range(20)]
    served = pipeline(fake_encoder, pool)
    text = replay(queries, served, pipeline(fake_encoder, pool, predictor=Contrary()))
    assert text.startswith("20 logged requests; 20 would go to another expert")
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in text.splitlines()}
    small, large = rows["share small"], rows["share large"]
    picked = [d.pick.expert for d in served.decide(queries)]
    share = f"{picked.count('small') / 20:.0%}"
    assert small[0] == share and large[1].strip(" |") == share
    before, after = (float(cell.strip(" |")) for cell in rows["predicted quality"])
    assert before < after, "by the new router's own predictions its picks are the better ones"
