from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from serve.cli import main
from serve.errors import TableError
from serve.feedback import Dispatched, FeedbackStore, Scored
from serve.offline.feedback import with_feedback
from serve.offline.fit.registry import ROUTERS
from serve.offline.table import RoutingTable
from serve.offline.trial import training_set
from tests.offline.conftest import FakeTaskEncoder, make_table


def scores(good="mid", bad="cheap", rows=60):
    """Users find one expert good at history and another bad."""
    return [
        Scored(f"history {1000 + i}", good if i % 2 else bad, float(i % 2)) for i in range(rows)
    ]


def test_a_score_is_one_measured_answer_of_a_new_prompt(table):
    joined = with_feedback(table, scores(), weight=1.0)
    new = joined.quality.iloc[len(table.prompts) :]
    assert len(new) == 60 and (new.notna().sum(axis=1) == 1).all()
    assert joined.quality.iloc[: len(table.prompts)].equals(table.quality)
    assert ((new >= 0) | new.isna()).all(axis=None) and ((new <= 1) | new.isna()).all(axis=None)
    for tensor in joined.tensors.values():
        assert tensor.index.equals(joined.quality.index)


def test_weight_0_teaches_nothing_and_more_teaches_more(table):
    usual = table.quality["mid"].mean()
    taught = [
        with_feedback(table, scores(), weight).quality["mid"].iloc[-1] for weight in (0, 0.2, 0.4)
    ]
    assert taught[0] == pytest.approx(usual)
    assert taught[0] < taught[1] < taught[2]


def test_users_who_like_everything_say_nothing_of_an_expert(table):
    happy = [Scored(f"history {i}", name, 1.0) for i, name in enumerate(("cheap", "mid") * 20)]
    joined = with_feedback(table, happy, weight=1.0)
    np.testing.assert_allclose(joined.quality.mean(), table.quality.mean())


def test_a_router_trained_with_it_prefers_what_users_preferred():
    plain = make_table(prompts=300, signal=0.0)

    def preference(table: RoutingTable) -> float:
        encoder = FakeTaskEncoder()
        costs = np.ones(table.quality.shape)
        data = training_set(table, encoder.encode(table.texts), _Costs(costs))
        fitted = ROUTERS["ridge"].fit(_validated(data), seed=0)
        said = fitted.predictor.predict(encoder.encode(["history 5", "history 6"])).quality
        names = list(fitted.predictor.experts)
        return float((said[:, names.index("mid")] - said[:, names.index("cheap")]).mean())

    assert preference(with_feedback(plain, scores(), 1.0)) > preference(plain) + 0.05


class _Costs:
    def __init__(self, measured):
        self.measured = measured


def _validated(data):
    return replace(data, validation=np.arange(len(data.texts)) % 7 == 0)


def test_experts_of_another_pool_are_left_out(table):
    joined = with_feedback(table, [*scores(), Scored("history 1", "gone", 1.0)], 1.0)
    assert len(joined.prompts) == len(table.prompts) + 60
    with pytest.raises(TableError, match="no feedback with its prompt for any of cheap, mid"):
        with_feedback(table, [Scored("history 1", "gone", 1.0)], 1.0)


def test_train_learns_from_the_database_and_says_with_which_weight(
    repository, tmp_path, monkeypatch, capsys
):
    url = f"sqlite:///{tmp_path}/feedback.sqlite"
    store = FeedbackStore(url)
    store.remember(
        [Dispatched(f"r{i}", 0.0, "gemma-3-270m", "", "Is it so?" if i else None) for i in range(4)]
    )
    for i in range(4):
        store.score(f"r{i}", i / 3, at=float(i))
    words = ["train", "--table", repository / "deployments/local/table", "--router", "ridge"]
    words += ["--out", tmp_path / "a", "--with-feedback", url, "--feedback-weight", 0.25]
    monkeypatch.setattr("sys.argv", ["pointsman", *map(str, words)])
    main()
    said = capsys.readouterr().out
    assert "1 scores left out: their prompts were not kept (records.prompts)" in said
    assert "3 scores from feedback, each with weight 0.25" in said
    trained = json.loads((tmp_path / "a/manifest.json").read_text())["trained"]
    plain = json.loads((repository / "deployments/local/router/manifest.json").read_text())
    assert trained["feedback_weight"] == 0.25
    assert trained["prompts"] == plain["trained"]["prompts"] + 3
