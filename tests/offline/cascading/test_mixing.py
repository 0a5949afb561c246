from __future__ import annotations

import numpy as np
import pytest

from serve.offline.cascading.mixing import mixed


def constant(*values):
    return np.tile(np.array(values, dtype=float), (4, 1))


def test_half_of_each_costs_half_way_and_earns_half_way():
    quality, cost = constant(0.2, 0.8), constant(1, 3)
    mix = mixed(quality, cost, quality, cost, np.full(4, 2.0), 2.0)
    assert mix.quality.tolist() == [0.5] * 4 and mix.cost.tolist() == [2.0] * 4
    assert mix.lam == pytest.approx(0.3)
    assert mix.advantage(np.full(4, 0.6), np.full(4, 2.0)) == pytest.approx([0.1] * 4)
    # A dollar more buys 0.3 by mixing.
    assert mix.advantage(np.full(4, 0.6), np.full(4, 3.0)) == pytest.approx([-0.2] * 4)


def test_an_expert_that_is_worse_than_a_mixture_has_no_part_in_it():
    quality, cost = constant(0.2, 0.3, 0.8), constant(1, 2, 3)
    assert mixed(quality, cost, quality, cost, np.full(4, 2.0), 2.0).quality[0] == 0.5


@pytest.mark.parametrize("usd", [3.0, 4.0])
def test_beyond_the_best_experts_cost_that_one_is_the_mixture(usd):
    quality, cost = constant(0.2, 0.8), constant(1, 3)
    mix = mixed(quality, cost, quality, cost, np.full(4, usd), usd)
    assert mix.quality[0] == 0.8 and mix.lam == 0
    cheap_is_best = constant(0.9, 0.8)
    mix = mixed(cheap_is_best, cost, cheap_is_best, cost, np.full(4, 2.0), 2.0)
    assert mix.quality[0] == 0.9 and mix.lam == 0
