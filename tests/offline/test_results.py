from __future__ import annotations

import json

import numpy as np
import pytest

from serve.offline.results import Reliable, Row, average, interval, write_json

CONTRACT = {
    *("table", "protocol", "router", "seed", "qnc", "area", "area50", "gain", "cost_ratio"),
    *("hindsight_gain", "best_single", "oracle"),
}


def row(router="default", seed=0, area=0.8, gain=0.01, qnc=0.5, apgr=None):
    return Row(
        table="t",
        protocol="prompts",
        router=router,
        seed=seed,
        qnc=qnc,
        area=area,
        area50=0.3,
        gain=gain,
        cost_ratio=0.9,
        hindsight_gain=0.02,
        best_single=0.7,
        oracle=0.9,
        random=0.5,
        zero_area=0.6,
        aiq=0.8,
        accuracy=0.71,
        cpt=apgr,
        apgr=apgr,
        lam=0.0,
        guard_share=0.0,
        tokens_mae=None,
        tokens_mae_mean=None,
        ece=0.02,
    )


def test_results_json_keeps_its_contract(tmp_path):
    line = average(("t", "prompts", "default"), np.arange(3.0), [np.ones(3), np.zeros(3)])
    bins = Reliable("t", "prompts", "default", *np.array([[0.1], [0.2], [1.0]]))
    for name in ("a", "b"):
        write_json([row(qnc=None), row(seed=1)], [line], [bins], ["a note"], tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    document = json.loads((tmp_path / "a").read_text())
    assert document["rows"][0].keys() >= CONTRACT
    assert document["rows"][0]["qnc"] is None and document["rows"][1]["qnc"] == 0.5
    assert document["curves"][0]["quality"] == [0.5, 0.5, 0.5]
    assert document["reliability"][0]["measured"] == [0.2]
    assert document["notes"] == ["a note"]


def test_nan_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json([row(gain=float("nan"))], [], [], [], tmp_path / "x")


def test_an_interval_by_hand():
    mean, half = interval([1.0, 2.0, 3.0])
    # s = 1, n = 3, t(.975, 2) = 4.303
    assert mean == 2 and half == pytest.approx(4.3027 / np.sqrt(3), rel=1e-3)
    assert interval([5.0]) == (5.0, 0.0)
