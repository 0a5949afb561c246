from __future__ import annotations

import numpy as np
import pytest

from serve import weights
from serve.encoding.transformer import TransformerEncoder
from serve.offline.asking.bertsim import bertsim, cosine
from serve.settings_file import read_config, settings_of

ANSWERS = ["The largest ocean is the Pacific.", "Yes", "", "A long answer about something else."]
REFERENCES = ["The Pacific Ocean", "Yes", "Anything", "Romans do"]


@pytest.fixture(scope="module")
def folder(repository):
    file = repository / "deployments/local.yaml"
    return weights.folder(settings_of(read_config(file), file).router.encoder)


def test_a_batch_scores_as_each_pair_alone(folder):
    """The order of a batch: torchmetrics 1.9 got it wrong."""
    together = bertsim(ANSWERS, REFERENCES, folder)
    alone = [bertsim([a], [r], folder)[0] for a, r in zip(ANSWERS, REFERENCES, strict=True) if a]
    np.testing.assert_allclose(together[[0, 1, 3]], alone, atol=1e-4)


def test_the_same_text_scores_1_and_an_empty_answer_0(folder):
    scores = bertsim(ANSWERS, REFERENCES, folder)
    assert scores[1] == pytest.approx(1, abs=1e-3)
    assert scores[2] == 0
    assert scores[0] > scores[3]


def test_cosine_orders_them_likewise(folder):
    scores = cosine(ANSWERS, REFERENCES, TransformerEncoder(folder))
    assert scores[1] == pytest.approx(1, abs=1e-3)
    assert scores[0] > scores[3]
    assert ((scores >= 0) & (scores <= 1.001)).all()
