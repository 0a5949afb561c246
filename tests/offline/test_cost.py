from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from serve.offline.cost import costs_of
from serve.offline.table import RoutingTable
from tests.offline.conftest import make_table


def test_prices_are_read_from_dollars_and_tokens(table):
    costs = costs_of(table)
    np.testing.assert_allclose(costs.measured, table.tensors["cost_usd"].to_numpy())
    expected = costs.expected(table.tensors["out_tokens"].to_numpy(dtype=np.float32))
    np.testing.assert_allclose(expected, costs.measured, rtol=1e-3)
    longer = costs.expected(np.full((300, 3), 500, np.float32))
    assert (longer > costs.measured).all()


def test_where_only_tokens_are_logged_list_prices_make_the_dollars(table):
    prices = {name: {"in_per_M": 2.0, "out_per_M": 8.0} for name in table.experts}
    tokens = {"out_tokens": table.tensors["out_tokens"]}
    costs = costs_of(RoutingTable(table.prompts, table.quality, tokens, {"prices": prices}))
    want = (100 * 2 + tokens["out_tokens"].to_numpy() * 8) / 1e6
    np.testing.assert_allclose(costs.measured, want)


def test_where_nothing_but_list_prices_is_known_they_are_the_cost(table):
    prices = {
        n: {"in_per_M": p, "out_per_M": p} for n, p in zip(table.experts, (1, 2, 9), strict=True)
    }
    costs = costs_of(RoutingTable(table.prompts, table.quality, {}, {"prices": prices}))
    np.testing.assert_allclose(costs.measured, np.tile([1, 2, 9], (300, 1)))
    np.testing.assert_allclose(costs.expected(np.full((300, 3), 50, np.float32)), costs.measured)


def test_where_no_price_is_known_every_answer_costs_1(table):
    costs = costs_of(RoutingTable(table.prompts, table.quality))
    np.testing.assert_array_equal(costs.measured, np.ones((300, 3)))


def test_a_gap_holds_the_experts_mean(table):
    dollars = table.tensors["cost_usd"].copy()
    dollars.iloc[:10, 0] = np.nan
    tensors = table.tensors | {"cost_usd": dollars}
    costs = costs_of(RoutingTable(table.prompts, table.quality, tensors))
    np.testing.assert_allclose(costs.measured[:10, 0], dollars.iloc[:, 0].mean())


def test_a_flat_cost_is_the_mean_whatever_the_answer(table):
    flat = costs_of(table).flat()
    want = table.tensors["cost_usd"].mean().to_numpy()
    for tokens in (1, 500):
        np.testing.assert_allclose(flat.expected(np.full((300, 3), tokens, np.float32))[7], want)


def test_dollars_that_tokens_do_not_explain_are_a_mean(table):
    rng = np.random.default_rng(0)
    noise = pd.DataFrame(rng.random((300, 3)), index=table.quality.index, columns=table.experts)
    costs = costs_of(
        RoutingTable(table.prompts, table.quality, {**table.tensors, "cost_usd": noise})
    )
    np.testing.assert_allclose(costs.fixed, noise.mean(), rtol=1e-6)
    assert (costs.usd_output == 0).all()


def test_the_made_table_is_what_it_says():
    assert make_table().quality["cheap"].mean() == pytest.approx(0.38, abs=0.1)
