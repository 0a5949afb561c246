from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.routing.signals import Token, certainty, margin, same, tokens_of

SIGNALS = ["mean_logprob", "min_logprob", "margin"]


def token(*top, text=None):
    return Token(text or top[0][0], top[0][1], tuple(top))


CHAT = {
    "content": [
        {"token": "Par", "logprob": -0.5, "top_logprobs": [{"token": "Lyon", "logprob": -2.0}]},
        {"token": "is", "logprob": -1.5, "top_logprobs": []},
    ]
}
COMPLETION = {
    "tokens": ["Par", "is"],
    "token_logprobs": [-0.5, -1.5],
    "top_logprobs": [{"Lyon": -2.0}, {}],
    "text_offset": [0, 3],
}


def test_both_forms_of_the_api_give_the_same_tokens():
    wanted = [Token("Par", -0.5, (("Lyon", -2.0),)), Token("is", -1.5)]
    assert tokens_of(CHAT) == tokens_of(COMPLETION) == wanted
    echoed = {"tokens": ["<s>", "x"], "token_logprobs": [None, -1.0], "top_logprobs": None}
    assert tokens_of(echoed) == [Token("x", -1.0)]


@pytest.mark.parametrize(
    "odd",
    [
        *(None, [], 17, {}, {"content": None}, {"content": 3}, {"content": [{}]}, {"content": [7]}),
        *({"tokens": ["a"]}, {"content": [{"token": "a", "logprob": "x"}]}),
    ],
)
def test_what_is_no_logprobs_is_no_tokens_and_never_an_error(odd):
    assert tokens_of(odd) == []


def test_signals_by_hand():
    tokens = [token(("Yes", -0.2), ("No", -1.7)), Token("!", -1.0)]
    assert certainty("mean_logprob", tokens) == pytest.approx(-0.6)
    assert certainty("min_logprob", tokens) == -1.0
    assert certainty("margin", tokens) == pytest.approx(1.5)


@pytest.mark.parametrize("signal", SIGNALS)
def test_an_answer_without_logprobs_is_never_certain(signal):
    assert certainty(signal, []) == -math.inf
    assert certainty(signal, [Token("a", math.nan, (("a", math.nan), ("b", -1.0)))]) == -math.inf


def test_near_equal_tokens_are_skipped():
    top = [("Yes", -0.3), (" yes", -1.5), ("Yes.", -1.6), ("YES", -1.7), ("Ye", -1.8), ("No", -3.3)]
    assert margin(token(*top)) == pytest.approx(3.0)
    assert margin(token(*reversed(top), text="Yes")) == pytest.approx(3.0)
    # None differs: at least as far as the last one that was listed.
    assert margin(token(("Yes", -0.3), ("yes", -1.5))) == pytest.approx(1.2)
    assert margin(token(("Yes", -0.3))) == -math.inf
    assert margin(token(("Yes", -math.inf), ("No", -math.inf))) == -math.inf


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("A", "B", False),
        ("A", " a.", True),
        ("The", "the", True),
        ("Paris", "Par", True),
        ("The capital", "capital", True),
        ("1", "2", False),
        ("**", "\n", False),
        ("(", "A", False),
    ],
)
def test_which_tokens_open_the_same_answer(one, other, equal):
    assert same(one, other) is same(other, one) is equal


logprobs = st.lists(st.floats(-50, 0), min_size=1, max_size=8)


@given(logprobs, st.integers(0, 7), st.floats(0, 5))
def test_a_token_that_is_more_likely_makes_no_answer_less_certain(values, at, more):
    at %= len(values)
    raised = [min(0.0, v + more) if i == at else v for i, v in enumerate(values)]
    for signal in SIGNALS[:2]:
        low, high = (certainty(signal, [Token("x", v) for v in vs]) for vs in (values, raised))
        assert high >= low - 1e-9
    tokens = [Token("x", v) for v in values]
    assert certainty("min_logprob", tokens) <= certainty("mean_logprob", tokens) + 1e-9


@given(st.dictionaries(st.text(max_size=4), st.floats(-50, 0), min_size=2, max_size=6))
def test_the_margin_is_never_negative_and_no_order_matters(top):
    pairs = list(top.items())
    value = margin(Token("x", -1.0, tuple(pairs)))
    assert value >= 0
    assert value == margin(Token("x", -1.0, tuple(reversed(pairs)))) or len(
        set(top.values())
    ) < len(top)
