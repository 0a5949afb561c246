from __future__ import annotations

import numpy as np
import pytest
from transformers import AutoTokenizer

from serve import weights
from serve.encoding.identity import MAX_TOKENS, encoder_name
from serve.encoding.transformer import TransformerEncoder, batch_of
from serve.settings_file import read_config, settings_of


@pytest.fixture(scope="module")
def folder(repository):
    file = repository / "deployments/local.yaml"
    return weights.folder(settings_of(read_config(file), file).router.encoder)


@pytest.fixture(scope="module")
def encoder(folder):
    return TransformerEncoder(folder)


def test_vectors_have_unit_length_and_the_stated_width(encoder):
    vectors = encoder.encode(["one", "a somewhat longer text", ""])
    assert vectors.shape == (3, encoder.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)


def test_padding_does_not_change_a_vector(encoder):
    short, long = "What is the capital of Peru?", "Tell me a long story. " * 40
    np.testing.assert_allclose(
        encoder.encode([short, long])[0], encoder.encode([short])[0], atol=2e-2
    )


def test_near_texts_are_nearer_than_far_ones(encoder):
    a, b, c = encoder.sentence_vectors(
        ["How big is the moon?", "What size is the moon?", "Sort a list."]
    )
    assert a @ b > 0.8 > a @ c


def test_the_name_is_known_without_loading_the_model(encoder, folder):
    assert encoder.name == encoder_name(folder)


def test_of_a_long_text_both_ends_are_read_and_the_middle_is_not(encoder):
    head, tail = "Translate to French. " * 60, "What is the weather in Lima? " * 60
    plain = encoder.encode([f"{head}{'noise ' * 400}{tail}"])[0]
    middle = encoder.encode([f"{head}{'other words ' * 300}{tail}"])[0]
    ending = encoder.encode([f"{head}{'noise ' * 400}{'Sort a list of numbers. ' * 60}"])[0]
    np.testing.assert_allclose(plain, middle, atol=1e-2)
    assert plain @ ending < 0.99


def test_a_batch_has_at_most_the_limit_of_tokens(folder):
    batch = batch_of(["word " * 5000, "short"], AutoTokenizer.from_pretrained(folder))
    assert batch["input_ids"].shape == (2, MAX_TOKENS)
    assert batch["attention_mask"].sum(dim=1).tolist() == [MAX_TOKENS, 3]


def test_sentence_vectors_are_the_last_layer_alone(encoder):
    texts = ["How big is the moon?", "Sort a list."]
    last = encoder.sentence_vectors(texts)
    width = last.shape[1]
    np.testing.assert_allclose(last, encoder.encode(texts)[:, -width:] * np.sqrt(3), atol=1e-3)
