from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.report.objectives import judge, read
from serve.errors import SettingsError


def written(folder, text):
    file = folder / "objectives.yaml"
    file.write_text(text)
    return file


def test_the_shipped_objectives_can_be_read():
    shipped = read(Path("loadtest/objectives.yaml"))
    assert shipped.objectives and shipped.slo.ttft_s


def test_latency_is_held_from_above_and_throughput_from_below():
    limits = {"ttft_p95_s": 2.0, "tokens_per_s": 10.0}
    met = [
        [verdict.met for verdict in judge(limits, {"ttft_p95_s": ttft, "tokens_per_s": rate})]
        for ttft, rate in [(2.0, 10.0), (2.1, 9.9), (0.0, 0.0)]
    ]
    assert met == [[True, True], [False, False], [True, False]]


def test_what_was_not_measured_is_not_met():
    assert [v.met for v in judge({"ttft_p95_s": 1e9}, {"ttft_p95_s": None})] == [False]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("objectives: {ttft_p95: 5}", "ttft_p95 is not measured; these are: ttft_p50_s"),
        ("objectives: {ttft_p95_s: fast}", "objectives.ttft_p95_s: .* got 'fast'"),
        ("objectives: {ttft_p95_s: -1}", "objectives.ttft_p95_s"),
        ("objectives: {}\nsloo: {}", "sloo"),
        ("objectives: {}\nslo: {ttft: 1}", "slo.ttft"),
        ("objectives: {}\nprices: {m: {inptu: 1}}", "prices.m.inptu"),
        ("slo: {}", "objectives: Field required"),
        ("objectives: [ttft_p95_s]", "objectives"),
        ("objectives: {", "objectives.yaml"),
        ("", "objectives: Field required"),
        ("objectives:", "objectives: .* got None"),
    ],
)
def test_a_mistake_is_named(tmp_path, text, told):
    with pytest.raises(SettingsError, match=told):
        read(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match="none.yaml"):
        read(tmp_path / "none.yaml")
