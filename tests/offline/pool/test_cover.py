from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serve.offline.pool.cover import cover

CLUSTERINGS = st.lists(st.integers(0, 7), min_size=1, max_size=200).map(np.array)


@given(CLUSTERINGS, st.integers(0, 250), st.integers(0, 99))
def test_no_prompt_twice_and_every_cluster_once_before_any_twice(clusters, wanted, seed):
    every = np.ones(len(clusters), dtype=bool)
    chosen = cover(clusters, every, wanted, seed)
    assert len(chosen) == len(set(chosen)) == min(wanted, len(clusters))
    kinds = len(np.unique(clusters))
    assert len(set(clusters[chosen[:kinds]])) == min(wanted, kinds)


@given(CLUSTERINGS, st.integers(0, 200), st.integers(0, 200), st.integers(0, 99))
def test_fewer_are_the_first_of_more(clusters, one, other, seed):
    every = np.ones(len(clusters), dtype=bool)
    few, many = sorted([one, other])
    longer = cover(clusters, every, many, seed)
    np.testing.assert_array_equal(cover(clusters, every, few, seed), longer[:few])


def test_any_first_n_hold_each_cluster_by_its_share():
    clusters = np.repeat([0, 1, 2, 3], [400, 300, 200, 100])
    chosen = cover(clusters, np.ones(1000, dtype=bool), 400, 0)
    for n in (40, 100, 200, 400):
        counts = np.bincount(clusters[chosen[:n]], minlength=4)
        assert np.abs(counts - n * np.array([0.4, 0.3, 0.2, 0.1])).max() <= 1


def test_a_mean_over_the_chosen_is_no_mean_of_what_lies_at_the_centre():
    """The first of each cluster would be the same ten whatever the seed."""
    clusters = np.repeat(np.arange(10), 30)
    every = np.ones(300, dtype=bool)
    assert set(cover(clusters, every, 10, 0)) != set(cover(clusters, every, 10, 1))


@given(st.lists(st.booleans(), min_size=20, max_size=60).map(np.array), st.integers(0, 9))
def test_prompts_that_all_experts_answered_come_first_in_their_cluster(preferred, seed):
    clusters = np.arange(len(preferred)) % 3
    chosen = cover(clusters, preferred, len(preferred), seed)
    for cluster in range(3):
        order = preferred[chosen[clusters[chosen] == cluster]]
        assert (np.diff(order.astype(int)) <= 0).all()
