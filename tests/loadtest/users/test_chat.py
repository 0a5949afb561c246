"""Exchanges over real HTTP with the fake endpoint, whose delays and counts are known."""

from __future__ import annotations

import pytest
from openai import OpenAI

from loadtest.users.chat import Exchange
from loadtest.users.workload import Question
from serve.config import Price
from tests.fake_endpoint import COST_USD, answer, fake_endpoint

PROMPT = "How long does this take?"
PAUSE_S = 0.02
"""Of a slow model: before its stream, and before each event of it."""


@pytest.fixture(scope="module")
def endpoint():
    with fake_endpoint() as fake:
        yield fake


def asked(endpoint, model, prices=None, session=None):
    question = Question([{"role": "user", "content": PROMPT}], 16, "task", session, 3)
    exchange = Exchange(question, prices or {}, sent_s=1.5)
    client = OpenAI(base_url=endpoint.url, api_key="none", max_retries=0)
    exchange.run(client.chat.completions, model)
    return exchange


def test_times_are_those_of_the_endpoint(endpoint):
    asked(endpoint, "slow-1")
    sample = asked(endpoint, "slow-1").sample()
    words = len(answer("slow-1", PROMPT).split())
    assert sample.output_tokens == words and sample.from_usage and sample.error is None
    # Nothing is sent before two pauses; the first token follows at once.
    assert 2 * PAUSE_S <= sample.ttft_s < 2 * PAUSE_S + 0.5
    assert len(sample.gaps_s) == words - 1
    # After the first token: the others, then the end, the usage and [DONE].
    rest = (words - 1 + 3) * PAUSE_S
    assert 0.5 * rest < sample.e2e_s - sample.ttft_s < rest + 0.5
    assert sample.tpot_s == pytest.approx((sample.e2e_s - sample.ttft_s) / (words - 1))
    assert (sample.expert, sample.task, sample.turn) == ("slow-1", "task", None)
    assert (sample.sent_s, sample.cost_usd, sample.decision_ms) == (1.5, None, None)


def test_what_pointsman_says_is_kept(endpoint):
    prices = {"small": Price(input=1e9, output=1e9)}
    exchange = asked(endpoint, "auto", prices, session="s")
    sample = exchange.sample()
    assert (sample.expert, sample.decision_ms, sample.turn) == ("small", 12.5, 3)
    assert sample.cost_usd == COST_USD
    assert exchange.text == answer("auto", PROMPT)


def test_another_endpoint_answer_costs_what_prices_say(endpoint):
    sample = asked(endpoint, "other", {"other": Price(input=10, output=1000)}).sample()
    in_tokens, out_tokens = 1 + len(PROMPT.split()), len(answer("other", PROMPT).split())
    assert sample.cost_usd == pytest.approx((10 * in_tokens + 1000 * out_tokens) / 1e6)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("broken", "HTTP 500: engine died"),
        ("garbage-text", "broken stream"),
        ("garbage-list", "broken stream"),
        ("garbage-shape", "broken stream"),
        ("garbage-error", "engine died"),
        ("garbage-end", "broken stream: no finish_reason"),
    ],
)
def test_what_the_endpoint_does_wrong_is_an_error_of_the_sample(endpoint, model, told):
    assert told in asked(endpoint, model).sample().error


def test_nobody_there_is_an_error_of_the_sample():
    exchange = Exchange(Question([{"role": "user", "content": "x"}], 1), {}, sent_s=0)
    client = OpenAI(base_url="http://127.0.0.1:1/v1", api_key="none", max_retries=0)
    exchange.run(client.chat.completions, "m")
    assert "no connection" in exchange.sample().error


def test_what_never_ended_was_cut_off():
    now = iter([10.0, 12.5])
    question = Question([{"role": "user", "content": "x"}], 1)
    sample = Exchange(question, {}, sent_s=0, clock=lambda: next(now)).sample()
    assert sample.error.startswith("cut off") and sample.e2e_s == 2.5
