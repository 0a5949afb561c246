"""predicted_quality: the signal that a router gives before anything is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serve.errors import ArtifactError, TableError
from serve.offline.cascading import source as module
from serve.offline.cascading.source import Source, load, signal_of
from serve.protocol import Prediction
from serve.routing.artifact import Artifact
from serve.routing.guard import Guard
from tests.conftest import FakeEncoder
from tests.offline.cascading.made import cascade_table

TIERS = ["cheap", "dear"]


class Fixed:
    """A predictor that says 0.1 of dear and 0.9 of cheap."""

    experts = ("dear", "cheap")

    def predict(self, vectors):
        quality = np.tile(np.array([0.1, 0.9], dtype=np.float32), (len(vectors), 1))
        return Prediction(quality, quality)


def a_guard():
    """One that holds everywhere: cheap earns 0.6."""
    zeros, means = np.zeros(1, np.float32), np.array([1.0, 0.6], np.float32)
    return Guard(zeros, zeros, zeros, 0.95, 100, means, means, means)


@pytest.fixture
def router(monkeypatch):
    """Make `module` load this artifact, read by a fake encoder."""

    def serve(table="other", encoder="fake/1", guard=None):
        one = Artifact(Fixed(), "r", "0", encoder, 8, table, guard, "fixed")
        monkeypatch.setattr(module.artifact, "load", lambda folder: one)
        monkeypatch.setattr(module.weights, "folder", lambda model: "")
        monkeypatch.setattr(module, "TransformerEncoder", lambda folder: FakeEncoder())
        monkeypatch.setattr(module, "embed", lambda texts, encoder: encoder.encode(texts))
        return Source("predicted_quality", artifact=Path("router"))

    return serve


def test_it_is_what_the_router_or_its_guard_says_of_that_expert(router):
    table = cascade_table(60)
    signal = signal_of(table, router(), TIERS, Path("t"))
    assert signal.shape == (60, 1) and signal == pytest.approx(0.9)
    assert signal_of(table, router(guard=a_guard()), TIERS, Path("t")) == pytest.approx(0.6)


def test_a_router_on_another_encoder_or_of_other_experts_is_refused(router):
    table = cascade_table(60)
    with pytest.raises(ArtifactError, match="trained on encoder other/1"):
        signal_of(table, router(encoder="other/1"), TIERS, Path("t"))
    with pytest.raises(ArtifactError, match="trained for experts"):
        signal_of(table, router(), ["grand", "dear"], Path("t"))


def test_a_router_is_not_judged_on_prompts_that_it_learned_from(router, tmp_path):
    table = cascade_table(120)
    table.save(tmp_path)
    source = router(table=table.fingerprint())
    with pytest.raises(TableError, match="learned from all of its prompts"):
        load(tmp_path, source, TIERS)
    table.prompts["split"] = np.where(np.arange(120) < 80, "train", "test")
    table.save(tmp_path)
    held, _ = load(tmp_path, source, TIERS)
    assert len(held.prompts) == 40 and set(held.prompts["split"]) == {"test"}
    assert len(load(tmp_path, router(), TIERS)[0].prompts) == 120
