from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from serve.routing.soft_labels import quality_of, soft_labels

qualities = arrays(np.float32, (4, 5), elements=st.floats(0, 1, width=32))


def test_the_two_readings_of_temperature_10():
    """PAPERS.md: nearly uniform for scores in 0..1, informative for percent scores."""
    quality = np.array([[0.95, 0.9, 0.88, 0.85, 0.83, 0.81, 0.79]], dtype=np.float32)
    plain = soft_labels(quality, score_scale=1.0)[0]
    assert 0.1435 < plain.max() < 0.1445 and 0.1415 < plain.min() < 0.1425
    percent = soft_labels(quality)[0]
    assert percent.max() > 0.24 and percent.min() < 0.07


@given(qualities)
def test_labels_are_probabilities_and_an_unmeasured_answer_has_none(quality):
    quality[0, 0] = np.nan
    labels = soft_labels(quality)
    np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-5)
    assert labels[0, 0] == 0


@given(qualities, st.sampled_from([1.0, 100.0]))
def test_labels_give_back_how_experts_differ(quality, scale):
    labels = soft_labels(quality, score_scale=scale)
    level = 0.5
    back = quality_of(np.log(labels.astype(np.float64)), level, score_scale=scale)
    centred = quality - quality.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(back, np.clip(level + centred, 0, 1), atol=2e-3)
