from __future__ import annotations

import time

import pytest

from serve.offline.asking import ask as asking
from serve.offline.asking import retry
from serve.offline.asking.ask import GIVE_UP, Endpoint, Limits, ask_all
from serve.offline.asking.prompts import Prompt
from tests.fake_endpoint import GARBAGE, answer, fake_endpoint, tokens


@pytest.fixture(scope="module")
def endpoint():
    with fake_endpoint() as fake:
        yield fake


@pytest.fixture(autouse=True)
def _soon(monkeypatch, endpoint):
    monkeypatch.setattr(retry, "BACKOFF_S", 0.01)
    endpoint.asked.clear()
    endpoint.likelihoods.clear()
    endpoint.most_under_way.clear()


def prompts(count, text="What is {}?", reference="one two three"):
    messages = [({"role": "user", "content": text.format(i)},) for i in range(count)]
    return [Prompt(f"p{i}", None, None, m, reference) for i, m in enumerate(messages)]


def ask(endpoint, experts, asked, **limits):
    """(expert, prompt) -> answer."""
    kept = []
    jobs = [(prompt, expert) for prompt in asked for expert in experts]
    limits = Limits(**{"timeout_s": 10, "tries": 2, **limits})
    ask_all(jobs, Endpoint(endpoint.url), limits, kept.append)
    assert len(kept) == len(jobs)
    return {(a.expert, a.prompt): a for a in kept}


def test_an_answer_has_its_text_tokens_times_and_the_likelihood_of_the_reference(endpoint):
    asked = prompts(3)
    answers = ask(endpoint, ["good", "slow"], asked)
    for prompt in asked:
        good, slow = answers["good", prompt.id], answers["slow", prompt.id]
        assert good.text == answer("good", prompt.text) != slow.text
        assert good.in_tokens == tokens(list(prompt.messages))
        assert good.out_tokens == len(good.text.split())
        assert good.nll == pytest.approx((1 + 2 + 3) / 3)
        assert 0.02 < slow.ttft_s < slow.latency_s < 5
        assert good.error is None


def test_no_reference_or_no_wish_asks_for_no_likelihood(endpoint):
    ask(endpoint, ["good"], prompts(2, reference=None))
    answers = ask(endpoint, ["good"], prompts(2), likelihood=False)
    assert not endpoint.likelihoods
    assert answers["good", "p0"].nll is None


def test_an_endpoint_without_prompt_logprobs_costs_no_cell_and_is_soon_not_asked(endpoint):
    answers = ask(endpoint, ["unlikely"], prompts(40), concurrency=2)
    assert all(a.text and a.nll is None and a.error is None for a in answers.values())
    assert GIVE_UP <= endpoint.likelihoods.total() <= GIVE_UP + 1


def test_a_failure_that_may_pass_is_tried_again(endpoint):
    answers = ask(endpoint, ["flaky"], prompts(4))
    assert all(a.error is None for a in answers.values())
    assert set(endpoint.asked.values()) == {2}


def test_a_refusal_is_not_tried_again_and_keeps_the_servers_words(endpoint):
    long = prompts(20, text="What is {} " + "long " * 9)
    short = [Prompt("short", None, None, ({"role": "user", "content": "Hi"},), None)]
    answers = ask(endpoint, ["small"], long + short, concurrency=1)
    assert answers["small", "p0"].error.startswith("HTTP 400: maximum context length is 40, got")
    assert answers["small", "short"].text
    assert set(endpoint.asked.values()) == {1}


@pytest.mark.parametrize("model", GARBAGE)
def test_a_stream_of_garbage_is_a_reason_not_a_crash(endpoint, model):
    answers = ask(endpoint, [model, "good"], prompts(2))
    assert answers[model, "p1"].error.startswith("broken stream: ")
    assert "\n" not in answers[model, "p1"].error
    assert answers[model, "p1"].text is None
    assert answers["good", "p1"].text


def test_a_hanging_expert_holds_up_only_itself_and_is_given_up(endpoint):
    started = time.monotonic()
    jobs = [(prompt, expert) for prompt in prompts(60) for expert in ("hanging", "good")]
    kept = []
    ask_all(jobs, Endpoint(endpoint.url), Limits(concurrency=4, timeout_s=1, tries=1), kept.append)
    took = time.monotonic() - started
    hanging = [a for a in kept if a.expert == "hanging"]
    assert all(a.error for a in hanging) and len(hanging) == 60
    waited = sum(a.error == "no answer within 1 s" for a in hanging)
    assert GIVE_UP <= waited < GIVE_UP + 4  # those that were under way
    given_up = "given up after 8 in a row: no answer within 1 s"
    assert waited + sum(a.error == given_up for a in hanging) == 60
    last_good = max(i for i, a in enumerate(kept) if a.expert == "good")
    last_waited = max(i for i, a in enumerate(kept) if a.error == "no answer within 1 s")
    assert len(kept) == 120 and last_good < last_waited
    assert took < 60 / 4  # what all of them would have waited for


def test_a_broken_expert_costs_its_own_cells(endpoint):
    answers = ask(endpoint, ["broken", "good"], prompts(12), concurrency=3)
    assert {a.error is None for (e, _), a in answers.items() if e == "good"} == {True}
    assert answers["broken", "p0"].error == "HTTP 500: engine died"


def test_no_more_than_the_limit_is_under_way_at_each_expert(endpoint):
    ask(endpoint, ["slow-1", "slow-2"], prompts(12), concurrency=3, likelihood=False)
    assert endpoint.most_under_way["slow-1"] <= 3
    assert set(endpoint.asked.values()) == {1}


def test_nobody_there_is_a_reason():
    kept = []
    jobs = [(prompts(1)[0], "good")]
    ask_all(jobs, Endpoint("http://127.0.0.1:1/v1"), Limits(tries=1), kept.append)
    assert kept[0].error.startswith("no connection: ")
    assert asking.Answer("p0", "good", error=kept[0].error) == kept[0]


def test_how_certain_an_answer_is_comes_with_it_where_it_is_asked_for(endpoint):
    answers = ask(endpoint, ["good"], prompts(3), certainty=True)
    for one in answers.values():
        count = len(one.text.split())
        assert one.mean_logprob == pytest.approx(-(count + 1) / 2)
        assert one.min_logprob == -count and one.margin == 2
    plain = ask(endpoint, ["good"], prompts(3))["good", "p0"]
    assert (plain.mean_logprob, plain.min_logprob, plain.margin) == (None, None, None)


def test_an_endpoint_that_refuses_logprobs_costs_no_cell_and_is_asked_without(endpoint):
    answers = ask(endpoint, ["silent"], prompts(10), concurrency=1, certainty=True)
    assert all(a.text and a.error is None and a.margin is None for a in answers.values())
    assert sorted(endpoint.asked.values()) == [1] * 9 + [2]
