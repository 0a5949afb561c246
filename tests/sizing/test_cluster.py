from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serve.sizing.asks import Bundle
from serve.sizing.cluster import Node, Room


def test_a_bundle_lies_on_one_node():
    room = Room([Node("a", 3, 0), Node("b", 3, 0)])
    assert not room.take([Bundle(4)])
    assert room.take([Bundle(2)]) and room.take([Bundle(2)])
    assert not room.take([Bundle(2)]) and room.cpus_left() == 2


def test_the_bundles_of_a_replica_may_lie_on_several():
    room = Room([Node("a", 1, 0, 1, "L4"), Node("b", 1, 0, 1, "L4")])
    assert room.take([Bundle(1, 1, "L4")] * 2)
    assert room.gpus_left("L4") == 0


def test_a_gpu_of_another_type_is_none():
    room = Room([Node("a", 8, 0, 4, "L4")])
    assert not room.take([Bundle(1, 1, "H100")])
    assert room.gpus_left("H100") == 0 and room.gpus_left("L4") == 4


def test_what_needs_no_gpu_goes_where_there_is_none():
    room = Room([Node("gpu", 1, 0, 1, "L4"), Node("cpu", 4, 0)])
    assert room.take([Bundle(1)]) and room.take([Bundle(1, 1, "L4")])


def test_a_replica_that_does_not_fit_takes_nothing():
    room = Room([Node("a", 3, 0)])
    assert not room.take([Bundle(2), Bundle(2)])
    assert room.take([Bundle(3)])


def test_tenths_of_a_core_add_up():
    room = Room([Node("a", 1, 0)])
    assert all(room.take([Bundle(0.1)]) for _ in range(10))
    assert not room.take([Bundle(0.1)])


nodes = st.lists(
    st.builds(
        Node,
        name=st.just("n"),
        cpus=st.integers(0, 16).map(float),
        memory_bytes=st.just(0),
        gpus=st.integers(0, 4),
        accelerator_type=st.sampled_from(["L4", "H100"]),
    ),
    max_size=4,
)
bundle = st.builds(Bundle, st.integers(0, 32).map(lambda n: n / 4)) | st.builds(
    Bundle, st.integers(0, 8).map(float), st.just(1), st.sampled_from(["L4", "H100"])
)


@given(nodes, st.lists(st.lists(bundle, min_size=1, max_size=3), max_size=8))
def test_no_more_is_taken_than_there_is(some, replicas):
    room = Room(some)
    taken = [replica for replica in replicas if room.take(replica)]
    cpus = sum(b.cpus for replica in taken for b in replica)
    assert abs(room.cpus_left() + cpus - sum(n.cpus for n in some)) < 1e-6
    assert room.cpus_left() >= 0
    for kind in ("L4", "H100"):
        gpus = sum(b.gpus for replica in taken for b in replica if b.accelerator_type == kind)
        here = sum(n.gpus for n in some if n.accelerator_type == kind)
        assert room.gpus_left(kind) + gpus == here >= gpus


@given(nodes, st.lists(bundle, min_size=1, max_size=3))
def test_a_copy_is_filled_by_itself(some, replica):
    room = Room(some)
    before = room.cpus_left()
    room.copy().take(replica)
    assert room.cpus_left() == before
