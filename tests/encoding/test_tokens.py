from __future__ import annotations

import pytest

from serve import weights
from serve.config import MINILM
from serve.encoding.tokens import ExpertTokenizers


@pytest.fixture(scope="module")
def counter():
    return ExpertTokenizers({"e": weights.folder(MINILM)})


def test_tokens_are_counted_by_the_experts_own_tokenizer(counter):
    (short, longer) = counter.count(["hello world", "hello world " * 50])["e"]
    assert 2 <= short <= 4
    assert longer - short == pytest.approx(98)


def test_a_very_long_text_is_counted_by_its_ends(counter):
    text = "hello world " * 100_000
    (tokens,) = counter.count([text])["e"]
    assert tokens == pytest.approx(200_000, rel=0.01)


def test_any_text_can_be_counted(counter):
    assert (counter.count(["", "\0", "é" * 10])["e"] >= 1).all()
