"""The BERT fit on a tiny random model: end to end, killed and resumed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

from serve.encoding.identity import encoder_name
from serve.encoding.transformer import TransformerEncoder
from serve.offline.evaluate import evaluate
from serve.offline.fit import bert
from serve.offline.fit.bert import fit_bert
from serve.offline.train import train
from serve.offline.trial import split_trial
from serve.protocol import Expert, Query
from serve.routing import artifact
from serve.routing.objective import LinearCost
from serve.routing.pipeline import RoutingPipeline
from tests.offline.conftest import TASKS, FakeTaskEncoder, make_table


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *TASKS]
    (folder / "vocab.txt").write_text(
        "\n".join([*words, *map(str, range(10)), *(f"##{i}" for i in range(10))])
    )
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
    )
    BertModel(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def trial(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = make_table(240)
    return split_trial("made", made, FakeTaskEncoder().encode(made.texts), 0)


def test_it_brings_its_own_encoder_and_learns(trial, model, monkeypatch):
    # A random model has everything to learn; a pretrained one is fine-tuned at 2e-5.
    monkeypatch.setattr(bert, "RATE", 3e-3)
    fitted = fit_bert(trial.data, seed=0, folder=model, epochs=12)
    encoder = TransformerEncoder(str(fitted.encoder))
    vectors = encoder.encode(trial.test.texts)
    picks = fitted.predictor.predict(vectors).quality.argmax(axis=1)
    best = trial.test.quality.mean(axis=0).max()
    assert trial.test.quality[np.arange(len(picks)), picks].mean() > best
    assert encoder.dimension == 48


def test_a_killed_run_goes_on_to_the_same_weights(trial, model, monkeypatch, tmp_path):
    whole = fit_bert(trial.data, seed=0, folder=model, epochs=2).predictor.arrays()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "again"))
    monkeypatch.setattr(bert, "CHECKPOINT_S", 0.0)
    calls = iter(range(1000))
    real = bert.pooled

    def killed(*arguments):
        if next(calls) == 7:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(bert, "pooled", killed)
    with pytest.raises(KeyboardInterrupt):
        fit_bert(trial.data, seed=0, folder=model, epochs=2)
    resumed = fit_bert(trial.data, seed=0, folder=model, epochs=2).predictor.arrays()
    for name, array in whole.items():
        np.testing.assert_allclose(array, resumed[name], atol=1e-6)
    assert next(calls) < 30  # the steps before the kill were not done again


def test_a_trained_router_and_its_encoder_are_one_folder(model, tmp_path, monkeypatch, capsys):
    """What `train` saves decides as it was judged: with the encoder that lies beside it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = make_table(120)
    made.save(tmp_path / "table")
    out = tmp_path / "router"
    saved = train(tmp_path / "table", f"bert:folder={model},epochs=1", None, out)
    assert f"router.encoder: {out / 'encoder'}" in capsys.readouterr().out
    assert saved.encoder == encoder_name(str(out / "encoder")) != encoder_name(model)
    pipeline = RoutingPipeline(
        TransformerEncoder(str(out / "encoder")),
        artifact.load(out).predictor,
        [Expert(name) for name in made.experts],
        router=saved.label,
        objective=LinearCost(),
        guard=saved.guard,
    )
    (decision,) = pipeline.decide([Query(made.texts[0], 4)])
    assert decision.router == saved.label and len(decision.candidates) == 3


def test_a_router_that_reads_the_text_is_judged_without_the_servers_encoder(
    model, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    make_table(120).save(tmp_path / "made")
    report = evaluate(
        [tmp_path / "made"],
        [f"bert:folder={model},epochs=1"],
        ["prompts"],
        seeds=1,
        out=tmp_path / "out",
        read=lambda: pytest.fail("the encoder was loaded"),
    )
    assert "made, prompts" in report
