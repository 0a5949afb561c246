"""Every router of the registry but BERT, on a table that tells its experts apart and on noise."""

from __future__ import annotations

import numpy as np
import pytest

from serve.errors import SettingsError
from serve.offline.cost import costs_of
from serve.offline.fit.data import TrainingSet, complete
from serve.offline.fit.folds import folds
from serve.offline.fit.registry import ROUTERS, parse_router
from serve.offline.fit.ridge import ridges
from serve.offline.fit.select import represented
from serve.offline.guard import calibrate
from serve.offline.judge import best_single, judge
from serve.offline.trial import split_trial
from serve.routing.registry import PREDICTORS
from tests.offline.conftest import FakeTaskEncoder, make_table

LEARNERS = [name for name in ROUTERS if name not in ("bert", "zero")]


def trial(signal=0.35, seed=0, prompts=600):
    made = make_table(prompts, signal, seed)
    return split_trial("made", made, FakeTaskEncoder().encode(made.texts), seed)


@pytest.fixture(scope="module")
def clear():
    return trial()


@pytest.mark.parametrize("name", LEARNERS)
def test_it_beats_the_best_constant_where_prompts_tell_the_experts_apart(clear, name):
    router = ROUTERS[name]
    fitted = router.fit(clear.data, seed=0)
    picks = fitted.predictor.predict(clear.test.vectors).quality.argmax(axis=1)
    earned = clear.test.quality[np.arange(len(picks)), picks].mean()
    assert earned > clear.test.quality[:, best_single(clear.data)].mean() + 0.05
    assert fitted.predictor.experts == clear.data.experts
    assert fitted.predictor.kind in PREDICTORS


@pytest.mark.parametrize("name", [n for n in ROUTERS if n != "bert"])
def test_a_seed_gives_the_same_bits(clear, name):
    first, second = (ROUTERS[name].fit(clear.data, seed=5).predictor for _ in range(2))
    for key, array in first.arrays().items():
        np.testing.assert_array_equal(array, second.arrays()[key])


@pytest.mark.parametrize("name", [n for n in ROUTERS if n != "bert"])
def test_missing_measurements_are_no_obstacle(name):
    made = make_table(400)
    made.quality.iloc[::90, 0] = np.nan
    made.quality.iloc[5::7, 1] = np.nan
    made.tensors["out_tokens"].iloc[::3] = np.nan
    split = split_trial("made", made, FakeTaskEncoder().encode(made.texts), 0)
    said = ROUTERS[name].fit(split.data, seed=0).predictor.predict(split.test.vectors)
    assert np.isfinite(said.quality).all() and np.isfinite(said.output_tokens).all()


def test_the_default_steps_aside_on_noise():
    """Three experts that differ in nothing but price, over ten tables: nothing is lost."""
    rows = []
    for seed in range(10):
        split = trial(signal=0.0, seed=seed, prompts=300)
        fitted = ROUTERS["default"].fit(split.data, seed=seed)
        guard = calibrate(fitted, split.data, split.costs)
        said = fitted.predictor.predict(split.test.vectors)
        rows.append(judge("default", "prompts", split, fitted, said, guard).row)
    aside = [row for row in rows if row.lam is None]
    assert len(aside) >= 5
    assert all(row.gain == 0 and row.cost_ratio == 1 for row in aside)
    assert all(row.cost_ratio <= 1.001 for row in rows)
    assert np.mean([row.gain == 0 for row in rows]) >= 0.7


def test_answer_lengths_are_learned(clear):
    said = ROUTERS["default"].fit(clear.data, seed=0).predictor.predict(clear.test.vectors)
    means = clear.data.output_tokens.mean(axis=0)
    error = np.abs(said.output_tokens - clear.test.output_tokens).mean()
    assert error < 0.5 * np.abs(means - clear.test.output_tokens).mean()


def test_the_stacks_quality_is_calibrated(clear):
    fitted = ROUTERS["stack"].fit(clear.data, seed=0)
    said = fitted.predictor.predict(clear.test.vectors)
    assert judge("stack", "prompts", clear, fitted, said, None).row.ece < 0.1


def test_the_stack_holds_every_prompt_out_once(clear):
    fitted = ROUTERS["stack"].fit(clear.data, seed=0)
    assert list(fitted.held_rows) == list(range(len(clear.data.texts)))
    parts = folds(100, 3)
    assert sorted(i for part in parts for i in part) == list(range(100))


def test_a_ridge_is_the_textbook_one():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 4)).astype(np.float32), rng.random((50, 2), dtype=np.float32)
    data = TrainingSet(
        ("a", "b"), ("",) * 50, np.array(["t"] * 50), x, y, y, y.astype(float), np.zeros(50, bool)
    )
    (fitted,) = ridges(data, [2.0])
    centred = x - x.mean(axis=0)
    want = np.linalg.solve(centred.T @ centred + 2 * np.eye(4), centred.T @ (y - y.mean(axis=0)))
    np.testing.assert_allclose(fitted.weights, want, atol=1e-4)


def test_a_gap_says_nothing_about_how_experts_differ():
    values = np.array([[1.0, 0.0], [0.0, np.nan], [1.0, 1.0]], dtype=np.float32)
    filled, mean = complete(values)
    assert filled[1, 1] - mean[1] == pytest.approx(values[1, 0] - mean[0])


def test_settings_of_a_fit_are_parsed():
    router, settings = parse_router("knn:plain=true,k=20")
    assert router is ROUTERS["knn"] and settings == {"plain": True, "k": 20}
    assert parse_router("mlp:score_scale=1.5")[1] == {"score_scale": 1.5}
    for text, words in {"nothing": "known: default", "knn:k": "is not key=value"}.items():
        with pytest.raises(SettingsError, match=words):
            parse_router(text)


def test_costs_of_a_split_are_those_of_its_prompts():
    made = make_table(100)
    split = split_trial("made", made, FakeTaskEncoder().encode(made.texts), 2)
    assert len(split.costs.measured) == len(split.data.texts) == 70
    whole = costs_of(made)
    row = made.texts.index(split.test.texts[4])
    np.testing.assert_array_equal(split.test_costs.measured[4], whole.measured[row])


@pytest.mark.parametrize("name", ["kmeans", "learned_map"])
def test_a_map_for_experts_known_by_few_answers_is_no_finer(name):
    """Clusters that 40 answers cannot fill say nothing; K is chosen as if no more were known."""
    split = trial(prompts=1200)
    fine, coarse = (
        ROUTERS[name].fit(split.data, seed=0, probes=probes).chosen["K"] for probes in (0, 40)
    )
    assert coarse <= fine


def test_so_many_probes_describe_an_expert(clear):
    train = clear.data.train
    assert represented(train, 0, seed=0) is train
    assert represented(train, 10_000, seed=0) is train
    some = represented(train, 40, seed=0)
    assert len(some.texts) == len(set(some.texts)) == 40 and set(some.texts) <= set(train.texts)
