from __future__ import annotations

import numpy as np
import pytest

from serve.offline.pool.likeness import PENALTIES, likeness


def answers(prompts, seed=0):
    """Five experts that find hard what is hard; the sixth is the first, but for a little noise."""
    rng = np.random.default_rng(seed)
    ease = rng.random((prompts, 1))
    known = (rng.random((prompts, 5)) < ease).astype(float)
    twin = np.where(rng.random(prompts) < 0.1, 1 - known[:, 0], known[:, 0])
    return known, known * 50 + 20, twin.astype(np.float32)


def test_a_relative_is_recognised():
    known, tokens, twin = answers(200)
    like = likeness(known, tokens, twin, (tokens[:, 2] * 2).astype(np.float32))
    assert like.quality.argmax() == 0 and like.output_tokens.argmax() == 2
    np.testing.assert_allclose(like.like_quality, known @ like.quality, rtol=1e-5)


def test_a_stranger_is_like_nobody():
    known, tokens, _ = answers(200)
    stranger = np.random.default_rng(1).integers(0, 2, 200).astype(np.float32)
    like = likeness(known, tokens, stranger, stranger)
    assert np.abs(like.quality).max() < 0.1


def test_lengths_that_were_never_logged_say_nothing():
    known, tokens, twin = answers(50)
    like = likeness(known, np.full_like(tokens, 256), twin, twin)
    assert (like.output_tokens == 0).all() and (like.like_output_tokens == 0).all()


@pytest.mark.parametrize("penalty", PENALTIES)
def test_the_weights_are_those_of_a_ridge_regression(penalty, monkeypatch):
    monkeypatch.setattr("serve.offline.pool.likeness.PENALTIES", (penalty,))
    known, tokens, twin = answers(60)
    x, y = known - known.mean(axis=0), twin - twin.mean()
    want = np.linalg.solve(x.T @ x + penalty * x.var() * np.eye(5), x.T @ y)
    np.testing.assert_allclose(likeness(known, tokens, twin, twin).quality, want, atol=1e-5)
