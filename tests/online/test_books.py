"""What is counted of requests, through the gateway: the metrics are fake, all above them is not."""

from __future__ import annotations

import pytest

from serve.online.upstreams.base import ExpertFailed
from tests.online.fake_metrics import metrics
from tests.online.test_dispatch import DONE, USAGE, event
from tests.online.test_gateway import CASCADE, made, whole

__all__ = ["made", "metrics"]  # fixtures

STREAM = [event("a"), event("b"), USAGE, DONE]
USAGE_TOKENS = 3
"""Of USAGE."""


@pytest.fixture
def application(metrics, made):
    """One whose metrics are the fakes."""
    return made


def test_a_whole_answer(metrics, application):
    application().ask(routing={"tradeoff": 1.0})
    assert metrics.of("requests_total") == {("router", "small"): 1}
    assert metrics.of("usage_tokens_total") == {
        ("input", "small", "local"): 10,
        ("output", "small", "local"): 5,
    }
    assert metrics.of("cost_usd_total") == {("small", "local"): pytest.approx(15e-6)}
    assert len(metrics.observed("answer_seconds")[("small",)]) == 1
    assert metrics.observed("predicted_quality").keys() == {("small",)}
    assert metrics.observed("ttft_seconds") == {}  # it has no first token
    assert metrics.of("errors_total") == {} and metrics.of("shed_total") == {}


def test_a_stream_has_a_first_token_and_a_pace(metrics, application):
    application(small=STREAM, large=STREAM).ask(stream=True, model="large")
    assert metrics.of("requests_total") == {("client", "large"): 1}
    assert metrics.observed("predicted_quality") == {}  # nobody predicted any
    (first,) = metrics.observed("ttft_seconds")[("large",)]
    (total,) = metrics.observed("answer_seconds")[("large",)]
    (token,) = metrics.observed("time_per_output_token_seconds")[("large",)]
    assert 0 < first <= total
    assert token == pytest.approx((total - first) / (USAGE_TOKENS - 1))


def test_a_refused_request_is_an_error_and_no_answer(metrics, application):
    application().ask(model="nobody")
    assert metrics.of("errors_total") == {("404",): 1}
    assert metrics.of("requests_total") == {} == metrics.observed("answer_seconds")
    assert metrics.of("shed_total") == {}


def test_a_shed_request_is_counted_as_such_too(metrics, application):
    made = application(max_requests=1)
    made.gateway._under_way = 1
    made.ask()
    assert metrics.of("shed_total") == {(): 1} and metrics.of("errors_total") == {("429",): 1}


def test_nobody_answering_is_a_503_of_no_expert(metrics, application):
    dies = [ExpertFailed("died", fatal=True)]
    application(small=dies, large=dies).ask()
    assert metrics.of("errors_total") == {("503",): 1} and metrics.of("requests_total") == {}


def test_a_broken_stream_is_an_error_and_no_measure_of_speed(metrics, application):
    broken = [event("a"), ExpertFailed("died", fatal=True)]
    application(small=broken, large=broken).ask(stream=True)
    assert metrics.of("errors_total") == {("stream",): 1}
    assert sum(metrics.of("requests_total").values()) == 1
    assert metrics.observed("answer_seconds") == {} == metrics.observed("ttft_seconds")


def test_a_cheap_answer_saves_and_one_asked_for_twice_loses(metrics, application):
    application().ask(routing={"tradeoff": 1.0})
    saved = {("best_single",): pytest.approx(135e-6), ("priciest",): pytest.approx(135e-6)}
    assert metrics.of("cost_saved_usd_total") == saved
    assert metrics.of("cost_lost_usd_total") == {}
    application(small=[whole("small", -2.0)], cascade=CASCADE).ask()  # both tiers are paid
    lost = {("best_single",): pytest.approx(15e-6), ("priciest",): pytest.approx(15e-6)}
    assert metrics.of("cost_lost_usd_total") == lost
    assert metrics.of("cost_saved_usd_total") == saved


def test_the_dear_expert_by_name_saves_nothing_and_loses_nothing(metrics, application):
    application().ask(model="large")
    assert metrics.of("cost_saved_usd_total") == {} == metrics.of("cost_lost_usd_total")
