"""What every predictor of the registry keeps, and what every open one allows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.routing.clusters import KMeansPredictor, LearnedMapPredictor, TaskMapPredictor
from serve.routing.constant import ConstantPredictor
from serve.routing.knn import KnnPredictor
from serve.routing.mlp import MlpPredictor
from serve.routing.registry import PREDICTORS
from serve.routing.ridge import RidgePredictor
from serve.routing.stack import StackPredictor
from serve.routing.to_knn import ToKnnPredictor

EXPERTS = ("a", "b", "c")
D, K = 6, 4


def unit_rows(rng, rows):
    vectors = rng.normal(size=(rows, D)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def floats(rng, *shape):
    return rng.random(shape, dtype=np.float32)


def made(kind, seed=0):
    rng = np.random.default_rng(seed)
    psi, tokens = floats(rng, K, 3), floats(rng, K, 3) * 100
    theta, bias = floats(rng, D, K) * 9, floats(rng, K)
    ridge = RidgePredictor(
        EXPERTS,
        floats(rng, D),
        floats(rng, D, 3),
        floats(rng, 3),
        floats(rng, D, 3),
        floats(rng, 3) * 100,
        2.0,
    )
    task_map = TaskMapPredictor(EXPERTS, psi, tokens, theta, bias)
    return {
        "constant": lambda: ConstantPredictor(EXPERTS, floats(rng, 3), floats(rng, 3)),
        "knn": lambda: KnnPredictor(
            EXPERTS, unit_rows(rng, 20), floats(rng, 20, 3), floats(rng, 20, 3), k=3, shrinkage=1.0
        ),
        "kmeans": lambda: KMeansPredictor(EXPERTS, psi, tokens, unit_rows(rng, K)),
        "learned_map": lambda: LearnedMapPredictor(EXPERTS, psi, tokens, theta, bias),
        "task_map": lambda: task_map,
        "ridge": lambda: ridge,
        "stack": lambda: StackPredictor(
            (task_map, ridge),
            floats(rng, 3),
            floats(rng, 3),
            floats(rng, 2),
            floats(rng, 2),
            floats(rng, 2),
            unit_rows(rng, K),
            np.sort(floats(rng, 11)),
        ),
        "mlp": lambda: MlpPredictor(
            EXPERTS,
            floats(rng, D, 5),
            floats(rng, 5),
            floats(rng, 5, 3),
            floats(rng, 3),
            floats(rng, 3),
            0.5,
            10.0,
            100.0,
        ),
        "to_knn": lambda: ToKnnPredictor(
            EXPERTS,
            unit_rows(rng, 20),
            np.full((20, 3), 1 / 3, np.float32),
            floats(rng, 3),
            3,
            0.5,
            10.0,
            100.0,
        ),
    }[kind]()


OPEN = [kind for kind, made_of in PREDICTORS.items() if hasattr(made_of, "add_expert")]


@pytest.mark.parametrize("kind", PREDICTORS)
def test_what_is_kept_predicts_the_same(kind):
    before = made(kind)
    after = PREDICTORS[kind].restore(EXPERTS, before.arrays(), before.params())
    vectors = unit_rows(np.random.default_rng(1), 9)
    np.testing.assert_array_equal(before.predict(vectors).quality, after.predict(vectors).quality)
    np.testing.assert_array_equal(
        before.predict(vectors).output_tokens, after.predict(vectors).output_tokens
    )


@pytest.mark.parametrize("kind", PREDICTORS)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_batch_predicts_what_each_prompt_alone_does(kind, seed):
    rng = np.random.default_rng(seed)
    predictor, vectors = made(kind, seed % 7), unit_rows(rng, 5)
    alone = np.concatenate([predictor.predict(vectors[i : i + 1]).quality for i in range(5)])
    np.testing.assert_allclose(predictor.predict(vectors).quality, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", OPEN)
def test_a_new_expert_changes_no_other_and_can_be_kept_alone(kind):
    rng = np.random.default_rng(3)
    predictor, vectors, probes = made(kind), unit_rows(rng, 7), unit_rows(rng, 40)
    grown = predictor.add_expert("new", probes, floats(rng, 40), floats(rng, 40) * 50)
    assert grown.experts == (*EXPERTS, "new") and predictor.experts == EXPERTS
    if kind != "stack":  # a stack's contrast is against the mean of its pool
        np.testing.assert_allclose(
            grown.predict(vectors).quality[:, :3], predictor.predict(vectors).quality, rtol=1e-5
        )
    assert grown.keep(["new", "a"]).experts == ("new", "a")
    said = grown.keep(["new", "a"]).predict(vectors)
    if kind != "stack":
        np.testing.assert_allclose(
            said.quality, grown.predict(vectors).quality[:, [3, 0]], rtol=1e-5
        )
    assert said.quality.shape == said.output_tokens.shape == (7, 2)


@pytest.mark.parametrize("kind", OPEN)
def test_an_expert_that_is_always_right_is_predicted_to_be(kind):
    rng = np.random.default_rng(4)
    grown = made(kind).add_expert(
        "sure", unit_rows(rng, 200), np.ones(200, np.float32), np.full(200, 30, np.float32)
    )
    said = grown.keep(["sure"]).predict(unit_rows(rng, 5))
    np.testing.assert_allclose(said.quality, 1.0, atol=0.02)
    np.testing.assert_allclose(said.output_tokens, 30.0, rtol=0.05)


@pytest.mark.parametrize("kind", ["kmeans", "learned_map", "task_map"])
def test_memberships_sum_to_one(kind):
    phi = made(kind).phi(unit_rows(np.random.default_rng(5), 50))
    np.testing.assert_allclose(phi.sum(axis=1), 1, rtol=1e-5)
    assert (phi >= 0).all()


def test_kmeans_takes_the_nearest_centroid():
    predictor = made("kmeans")
    np.testing.assert_array_equal(predictor.phi(predictor.centroids).argmax(axis=1), np.arange(K))


def test_novelty_is_the_share_of_training_prompts_that_lie_nearer():
    predictor = made("stack")
    at_home = predictor.novelty(predictor.centroids)
    far = predictor.novelty(np.full((1, D), 100, np.float32))
    assert (at_home <= 0.1).all() and far[0] == 1


@pytest.mark.parametrize("rows", [D - 2, D, 5 * D])
def test_a_ridge_adds_an_expert_by_the_textbook_formula(rows):
    rng = np.random.default_rng(rows)
    ridge = made("ridge")
    x, y = unit_rows(rng, rows), floats(rng, rows)
    grown = ridge.add_expert("new", x, y, y)
    offset = (x - ridge.centre).astype(np.float64)
    gram = offset.T @ offset + ridge.alpha * np.eye(D)
    want = np.linalg.solve(gram, offset.T @ (y - y.mean()))
    np.testing.assert_allclose(grown.weights[:, -1], want, atol=1e-5)
