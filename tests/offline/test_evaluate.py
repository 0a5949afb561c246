"""`pointsman evaluate` from folder to results.json, on a made table and a fake encoder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from serve.errors import SettingsError
from serve.offline.encoders import Reading, reading
from serve.offline.evaluate import evaluate
from serve.offline.table import RoutingTable
from tests.offline.conftest import FakeTaskEncoder, make_table


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    made = make_table(240, experts=[f"e{i}" for i in range(6)])
    made.save(tmp_path / "made")
    return tmp_path / "made"


def read():
    return Reading(FakeTaskEncoder())


def run(folder, out, routers=("default", "knn", "zero"), protocols=("prompts",), seeds=2):
    report = evaluate([folder], list(routers), list(protocols), seeds=seeds, out=out, read=read)
    return report, json.loads((out / "results.json").read_text())


def test_one_row_for_each_router_and_seed_and_pictures_beside_them(folder, tmp_path):
    report, results = run(folder, tmp_path / "out")
    keys = [(r["table"], r["protocol"], r["router"], r["seed"]) for r in results["rows"]]
    assert sorted(keys) == sorted(
        ("made", "prompts", router, seed)
        for router in ("default", "knn", "zero")
        for seed in (0, 1)
    )
    default = [r for r in results["rows"] if r["router"] == "default"]
    assert all(r["gain"] > 0.05 and r["qnc"] < 1 and r["cost_ratio"] <= 1 for r in default)
    assert report == (tmp_path / "out/results.md").read_text()
    for suffix in ("png", "svg"):
        assert (tmp_path / f"out/made.prompts.{suffix}").stat().st_size > 1000


def test_a_seed_gives_the_same_bytes(folder, tmp_path):
    run(folder, tmp_path / "a", routers=("default", "kmeans", "learned_map", "mlp"))
    run(folder, tmp_path / "b", routers=("default", "kmeans", "learned_map", "mlp"))
    for name in ("results.json", "results.md", "made.prompts.svg"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_experts_are_left_out_where_asked_and_a_stranger_is_refused(folder, tmp_path):
    def without(*experts):
        out = tmp_path / "out"
        evaluate(
            [folder],
            ["zero"],
            ["prompts"],
            seeds=1,
            out=out,
            read=read,
            without=experts,
        )
        return json.loads((out / "results.json").read_text())

    assert without("e1")["notes"] == ["made: left out as asked: e1"]
    assert (tmp_path / "out/results.md").read_text().startswith("Note: made: left out as asked: e1")
    assert without("e1")["rows"] != without("e1", "e4")["rows"]
    with pytest.raises(SettingsError, match="'e9': no table has that expert"):
        without("e1", "e9")


def test_the_zero_router_gains_nothing_and_the_oracle_is_above_all(folder, tmp_path):
    _, results = run(folder, tmp_path / "out")
    for row in results["rows"]:
        assert row["oracle"] >= row["accuracy"] >= 0
        if row["router"] == "zero":
            assert row["gain"] == 0 and row["cost_ratio"] == 1


def test_unseen_experts_are_routed_from_their_probes_alone(folder, tmp_path):
    routers = ("default", "knn:plain=true", "kmeans", "kmeans:full", "task_map", "zero")
    _, results = run(folder, tmp_path / "out", routers, ("unseen-experts",))
    assert {r["router"] for r in results["rows"]} == set(routers)
    assert {r["protocol"] for r in results["rows"]} == {"unseen-experts"}
    with pytest.raises(SettingsError, match="cannot take a new expert"):
        run(folder, tmp_path / "out", ("mlp",), ("unseen-experts",))
    with pytest.raises(SettingsError, match="belongs to unseen-experts alone"):
        run(folder, tmp_path / "out", ("kmeans:full",), ("prompts",))


def test_an_unseen_experts_test_answers_are_never_looked_at(folder, tmp_path):
    """Nor those of its training prompts beyond S_val: changing them changes no pick."""
    from serve.offline.fit.registry import ROUTERS
    from serve.offline.trial import split_unseen
    from serve.offline.unseen import fit_seen, for_unseen

    made = RoutingTable.load(folder)
    vectors = FakeTaskEncoder().encode(made.texts)
    before = split_unseen("made", made, vectors, 0)
    probes = set(before.probes.texts)
    hidden = ~made.prompts["prompt"].isin(probes).to_numpy()
    for expert in before.probes.experts:
        made.quality.loc[hidden, expert] = 1 - made.quality.loc[hidden, expert]
    after = split_unseen("made", made, vectors, 0)
    said = [
        for_unseen(fit_seen("stack", ROUTERS["stack"], {}, trial), trial, full=False)
        .predictor.predict(trial.trial.test.vectors)
        .quality
        for trial in (before, after)
    ]
    np.testing.assert_array_equal(*said)


DATA = Path(os.environ.get("POINTSMAN_DATA", "../shared/data"))


@pytest.mark.skipif(
    not (DATA / "llmrouter_9").is_dir(), reason=f"no real routing tables at {DATA}: POINTSMAN_DATA"
)
def test_on_a_real_table_the_default_router_beats_every_constant(tmp_path, repository):
    """LLMRouter's table, an eighth of its prompts, so that reading them takes half a minute."""
    whole = RoutingTable.load(DATA / "llmrouter_9")
    whole.rows(whole.prompts.index[::8]).save(tmp_path / "llmrouter_eighth")
    report = evaluate(
        [tmp_path / "llmrouter_eighth"],
        ["default", "zero"],
        ["prompts"],
        seeds=3,
        out=tmp_path / "out",
        read=lambda: reading("default"),
    )
    print(report)
    rows = json.loads((tmp_path / "out/results.json").read_text())["rows"]
    default = [r for r in rows if r["router"] == "default"]
    zero = [r for r in rows if r["router"] == "zero"]
    assert np.mean([r["gain"] for r in default]) > 0.01
    assert all(r["cost_ratio"] <= 1.01 for r in default)
    assert np.mean([r["area"] for r in default]) > np.mean([r["area"] for r in zero]) + 0.03
