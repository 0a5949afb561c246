from __future__ import annotations

import numpy as np
import pytest

from serve import weights
from serve.encoding.identity import encoder_name
from serve.encoding.transformer import TransformerEncoder
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
    a, b, c = encoder.encode(["How big is the moon?", "What size is the moon?", "Sort a list."])
    assert a @ b > 0.8 > a @ c


def test_the_name_is_known_without_loading_the_model(encoder, folder):
    assert encoder.name == encoder_name(folder)
