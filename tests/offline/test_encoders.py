from __future__ import annotations

import numpy as np
import pytest

from serve.errors import SettingsError
from serve.offline.encoders import (
    CHARACTERS,
    READINGS,
    HeadEncoder,
    Reading,
    WordsEncoder,
    check_encoder,
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class FakeCountingEncoder:
    name = "fake-counting/1"
    dimension = 6

    def encode(self, texts, lap=None):
        return np.array([[len(text), 0, 1, 1, 3, 4] for text in texts], np.float32)


def test_a_layer_is_a_third_of_the_vector_at_unit_length():
    vectors = Reading(FakeCountingEncoder(), 2).vectors(["a", "bb"])
    assert vectors == pytest.approx(np.array([[0.6, 0.8], [0.6, 0.8]]))


def test_the_head_of_a_text_is_all_that_is_read():
    head = HeadEncoder(FakeCountingEncoder())
    assert head.encode(["x" * 9999, "y"])[:, 0].tolist() == [CHARACTERS, 1]
    assert head.name != FakeCountingEncoder.name


def test_words_are_the_same_in_every_process_and_near_where_shared():
    a, b, c = WordsEncoder().encode(["how big is the moon", "how far is the moon", "sort a list"])
    again = WordsEncoder().encode(["how big is the moon"])[0]
    np.testing.assert_array_equal(a, again)
    assert a @ b > a @ c and np.linalg.norm(a) == pytest.approx(1, abs=1e-5)


def test_an_unknown_encoder_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(SettingsError, match=f"nor one of {', '.join(READINGS)}"):
        check_encoder(str(tmp_path))
    (tmp_path / "config.json").touch()
    check_encoder(str(tmp_path))
