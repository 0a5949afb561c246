from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.report.measures import (
    MEASURES,
    PERCENTILES,
    Slo,
    measure,
    percentiles,
    shares,
    tokens_within,
    within,
)
from loadtest.users.schedule import Stage, plan
from tests.loadtest.report.samples import WHOLE, drawn

many = st.lists(drawn(), max_size=20)
limit = st.none() | st.floats(0.01, 1000)
slos = st.builds(Slo, ttft_s=limit, tpot_s=limit, e2e_s=limit)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200))
def test_a_percentile_has_that_share_of_raw_values_at_or_below(values):
    found = percentiles(values)
    ranked = [found[q] for q in PERCENTILES]
    assert ranked == sorted(ranked)
    for q, value in found.items():
        below = sum(v <= value + 1e-6 * abs(value) for v in values)
        above = sum(v >= value - 1e-6 * abs(value) for v in values)
        assert below >= q / 100 * (len(values) - 1)
        assert above >= (1 - q / 100) * (len(values) - 1)


def test_percentiles_are_linear_between_raw_values():
    assert percentiles([0, 10]) == {50: 5, 90: 9, 95: 9.5, 99: 9.9}
    assert percentiles([]) == dict.fromkeys(PERCENTILES)


def test_a_small_load_by_hand():
    slow = replace(WHOLE, sent_s=1.0, ttft_s=3.0, e2e_s=9.0, expert="b", cost_usd=3e-6)
    failed = replace(WHOLE, sent_s=2.0, error="HTTP 500: no", cost_usd=None, output_tokens=99)
    measured = measure([WHOLE, slow, failed], Slo(ttft_s=1.0))
    assert set(measured) == set(MEASURES)
    # The failed one has no part in latencies, tokens or cost.
    assert measured["ttft_p50_s"] == pytest.approx(1.75)
    assert measured["e2e_p50_s"] == pytest.approx(5.5)
    assert measured["tpot_p50_s"] == pytest.approx((1.5 / 3 + 6 / 3) / 2)
    assert measured["itl_p99_s"] == pytest.approx(0.5)
    assert measured["decision_p95_ms"] == pytest.approx(10)
    # From 0 s, when the first was sent, to 10 s, when the last ended.
    assert measured["requests_per_s"] == pytest.approx(2 / 10)
    assert measured["tokens_per_s"] == pytest.approx(8 / 10)
    assert measured["goodput_per_s"] == pytest.approx(1 / 10)
    assert measured["goodput_share"] == measured["error_rate"] == pytest.approx(1 / 3)
    assert measured["usd_per_1000_requests"] == pytest.approx(0.002)
    assert shares([WHOLE, WHOLE, slow]) == {"a": pytest.approx(2 / 3), "b": pytest.approx(1 / 3)}


def test_nothing_is_measured_of_nothing():
    assert measure([], Slo()) == dict.fromkeys(MEASURES)


def test_an_unknown_cost_is_not_taken_for_the_others():
    free = replace(WHOLE, cost_usd=None)
    assert measure([WHOLE, free], Slo())["usd_per_1000_requests"] is None


@given(many, slos)
def test_goodput_is_at_most_what_did_not_fail(samples, slo):
    measured = measure(samples, slo)
    if samples:
        assert measured["goodput_share"] <= 1 - measured["error_rate"] + 1e-9
        assert measured["goodput_per_s"] <= measured["requests_per_s"] + 1e-9
        unbound = measure(samples, Slo())
        assert unbound["goodput_share"] == pytest.approx(1 - unbound["error_rate"])


@given(many, slos, st.floats(0.1, 1))
def test_a_stricter_slo_finds_no_more_good(samples, slo, factor):
    kept = {name: value * factor for name, value in slo.model_dump(exclude_none=True).items()}
    for sample in samples:
        assert not Slo(**kept).keeps(sample) or slo.keeps(sample)


@given(many, st.sampled_from(["steps", "spike"]))
def test_stages_share_the_requests_and_their_tokens(samples, shape):
    stages = plan(shape, None, 3000)
    assert sum(len(within(samples, stage)) for stage in stages) == len(samples)
    spread = sum(tokens_within(samples, stage) for stage in stages)
    assert spread == pytest.approx(sum(sample.output_tokens for sample in samples))


def test_an_answer_over_the_end_of_a_stage_gives_each_its_part():
    # 4 tokens between 0.5 s and 2 s.
    assert tokens_within([WHOLE], Stage(0, 1, 2)) == pytest.approx(4 / 3)
    assert tokens_within([WHOLE], Stage(1, 5, 4)) == pytest.approx(8 / 3)
    assert tokens_within([WHOLE], Stage(5, 6, 4)) == 0
