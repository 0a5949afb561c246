from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.routing.cascade import Cascade, decides_on, needs_whole, top_logprobs


def cascade(signal="mean_logprob", thresholds=(-0.5, -0.1), **more):
    return Cascade(("small", "middle", "large")[: len(thresholds) + 1], signal, thresholds, **more)


def chunk(*logprobs, other=-9.0):
    entries = [
        {"token": "x", "logprob": v, "top_logprobs": [{"token": t, "logprob": w} for t, w in top]}
        for v in logprobs
        for top in [[("x", v), ("y", other)]]
    ]
    return {"content": entries}


def test_at_or_above_its_tiers_threshold_an_answer_is_accepted():
    three = cascade()
    assert three.next_tier(0, -0.5) is None and three.next_tier(0, -0.51) == 1
    assert three.next_tier(1, -0.1) is None and three.next_tier(1, -0.2) == 2
    assert three.next_tier(2, -math.inf) is None


@pytest.mark.parametrize("unknown", [-math.inf, math.nan])
def test_what_is_not_known_is_never_certain(unknown):
    assert not cascade(thresholds=(-1e300,)).accepts(0, unknown)
    assert cascade(thresholds=(-1e300,)).accepts(1, unknown)


def test_what_each_signal_needs():
    needs = {s: (decides_on(s), needs_whole(s), top_logprobs(s)) for s in ("margin", "min_logprob")}
    assert needs == {"margin": ("first_token", False, 5), "min_logprob": ("answer", True, 0)}
    assert decides_on("predicted_quality") == "prompt"
    assert top_logprobs("predicted_quality") is None


def test_a_request_asks_for_what_the_signal_needs_and_for_what_the_client_wants():
    body = {"model": "auto", "top_logprobs": 7}
    margin = cascade("margin")
    assert margin.asking(body, chat=True) == body | {"logprobs": True, "top_logprobs": 7}
    assert margin.asking({}, chat=True) == {"logprobs": True, "top_logprobs": 5}
    assert cascade().asking({}, chat=True) == {"logprobs": True, "top_logprobs": 0}
    assert margin.asking({"logprobs": None}, chat=False) == {"logprobs": 5}
    assert margin.asking({"logprobs": 9}, chat=False) == {"logprobs": 9}
    assert cascade("predicted_quality").asking({"n": 1}, chat=True) == {"n": 1}
    assert body == {"model": "auto", "top_logprobs": 7}


def test_a_client_sees_the_logprobs_that_it_asked_for_and_no_others():
    margin = cascade("margin")
    said = chunk(-1.0)
    assert margin.for_client(said, {}, chat=True) is None
    assert margin.for_client(said, {"logprobs": False}, chat=True) is None
    assert margin.for_client(None, {"logprobs": True}, chat=True) is None
    one = margin.for_client(said, {"logprobs": True, "top_logprobs": 1}, chat=True)
    assert one["content"][0]["top_logprobs"] == [{"token": "x", "logprob": -1.0}]
    none = margin.for_client(said, {"logprobs": True}, chat=True)
    assert none["content"][0]["logprob"] == -1.0 and none["content"][0]["top_logprobs"] == []
    assert said == chunk(-1.0)
    tops = [{"a": -1.0, "b": -2.0, "c": -3.0}, None]
    said = {"tokens": ["c", "d"], "token_logprobs": [-3.0, -1.0], "top_logprobs": tops}
    assert margin.for_client(said, {"model": "auto"}, chat=False) is None
    one = margin.for_client(said, {"logprobs": 1}, chat=False)
    assert one["top_logprobs"] == [{"a": -1.0, "c": -3.0}, None]
    none = margin.for_client(said, {"logprobs": 0}, chat=False)
    assert none["top_logprobs"] == [{"c": -3.0}, None] and none["tokens"] == ["c", "d"]


def test_a_margin_is_decided_at_the_first_token_and_a_mean_at_the_end():
    watch = cascade("margin", (2.0,)).watch(0)
    watch.see(None)  # the first chunk of a chat holds its role alone
    assert watch.verdict(ended=False) is None
    watch.see(chunk(-1.0, other=-2.0))
    assert watch.verdict(ended=False) is False
    watch = cascade("mean_logprob", (-0.5,)).watch(0)
    watch.see(chunk(-0.9))
    assert watch.verdict(ended=False) is None
    watch.see(chunk(-0.1, -0.2))
    assert watch.value == pytest.approx(-0.4) and watch.verdict(ended=True) is True


def test_the_last_tier_and_an_empty_answer():
    assert cascade().watch(2).verdict(ended=False) is True
    assert cascade().watch(0).verdict(ended=True) is False
    assert cascade("margin", (0.0,)).watch(0).verdict(ended=True) is False


def test_by_predicted_quality_a_tier_that_would_not_be_accepted_is_never_asked():
    by_prompt = cascade("predicted_quality", (0.6, 0.8))
    assert by_prompt.first_tier({"small": 0.6, "middle": 0.9}) == 0
    assert by_prompt.first_tier({"small": 0.5, "middle": 0.8}) == 1
    assert by_prompt.first_tier({"small": 0.5, "middle": 0.7, "large": 0.1}) == 2
    assert by_prompt.first_tier({}) == 2
    assert by_prompt.watch(0).verdict(ended=False) is True
    assert cascade().first_tier({"small": 0.0}) == 0


def test_a_client_that_streams_may_be_answered_by_the_first_tier_alone():
    assert cascade().applies(stream=True) and cascade().applies(stream=False)
    first = cascade(holds=False)
    assert not first.applies(stream=True) and first.applies(stream=False)


@given(st.floats(-20, 0), st.floats(-20, 0), st.floats(-20, 0))
def test_more_certain_or_less_demanding_never_asks_more(threshold, low, high):
    low, high = sorted((low, high))
    one = cascade(thresholds=(threshold,))
    assert one.accepts(0, high) >= one.accepts(0, low)
    assert cascade(thresholds=(low,)).accepts(0, threshold) >= cascade(thresholds=(high,)).accepts(
        0, threshold
    )
