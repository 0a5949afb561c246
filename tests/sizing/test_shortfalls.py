from __future__ import annotations

from dataclasses import replace

import pytest

from serve.sizing.asks import GIB, Ask, Bundle
from serve.sizing.models import Model
from serve.sizing.shortfalls import shortfalls


def model(gib=1.0, **also):
    return Model("m", "directory", "/m", bytes=int(gib * GIB), **also)


def expert(i=0, replicas=(1, 1), bundle=None, workers=1, weights=None, kv=GIB, share=0.9, **also):
    bundles = (bundle or Bundle(1.0),) * workers
    return Ask(f"experts[{i}]", f"e{i}", replicas, bundles, weights or model(), kv, share, **also)


def said(asks, cluster):
    return [str(finding) for finding in shortfalls(asks, cluster)]


def test_nothing_is_said_where_all_is_there(machine, node):
    assert said([expert(replicas=(1, 8))], machine(node())) == []


def test_gpus_that_are_not_there_name_the_type_and_the_expert(machine, node):
    ask = expert(2, bundle=Bundle(1.0, 1, "L40S"), workers=2)
    assert said([ask], machine(node())) == [
        "missing: experts[2].accelerator_type: L40S: 2 GPUs of it asked for, 0 here"
    ]


def test_gpus_that_others_have_taken_are_told_apart(machine, node):
    big = expert(0, bundle=Bundle(1.0, 1, "L4"), workers=2)
    small = expert(1, bundle=Bundle(1.0, 1, "L4"))
    assert said([small, big], machine(node(gpus=2, kind="L4"))) == [
        "missing: experts[1].accelerator_type: L4: 1 GPU of it asked for, 2 here, 0 left beside "
        "the others"
    ]


def test_a_pool_of_nodes_that_is_not_there_is_named(machine, node):
    pools = [machine(node(resources={"pool": n})) for n in (0.0, 1.0, 2.0)]
    asks = [expert(i, resources={"pool": 1.0}) for i in range(2)]
    assert said(asks, pools[0])[0] == "missing: experts[0].resources: pool: 1 asked for, 0 here"
    assert said(asks, pools[1]) == ["missing: experts[1].resources: pool: 2 asked for, 1 here"]
    assert said(asks, pools[2]) == []


def test_a_replica_must_fit_on_one_node(machine, node):
    assert said([expert(bundle=Bundle(12.0))], machine(node(), node())) == [
        "missing: experts[0].cpus: 12 asked for on one node, the largest here has 8"
    ]


def test_a_gpu_node_without_the_cpus_is_no_place(machine, node):
    here = machine(node(cpus=32.0), node(cpus=2.0, gpus=1, kind="L4"))
    assert said([expert(bundle=Bundle(4.0, 1, "L4"))], here) == [
        "missing: experts[0].cpus: 4 asked for on one node, the largest here has 2"
    ]


def test_cpus_that_do_not_suffice_are_counted(machine, node):
    ask = expert(replicas=(3, 3), bundle=Bundle(2.0))
    assert said([ask], machine(node(cpus=3.0), node(cpus=3.0))) == [
        "missing: experts[0].cpus: 6 asked for (autoscaling.min_replicas: 3), 2 of 6 left beside "
        "the others, on 2 nodes"
    ]


def test_what_cannot_grow_is_warned_of(machine, node):
    ask = Ask("router", "router", (1, 9), (Bundle(2.0),))
    assert said([ask], machine(node())) == [
        "warning: router.replicas.max_replicas: 9, and there is room for 4 beside the others' "
        "min_replicas"
    ]


def test_so_is_what_may_be_nought_and_fits_nowhere(machine, node):
    ask = expert(replicas=(0, 2), bundle=Bundle(1.0, 1, "L4"))
    (warning,) = said([ask], machine(node()))
    assert warning.startswith("warning: experts[0].autoscaling.max_replicas: 2, and there is room")


@pytest.mark.parametrize(("estimated", "word"), [(False, "missing"), (True, "warning")])
def test_weights_must_fit_into_their_gpus(machine, node, estimated, word):
    weights = model(30, estimated=estimated)
    ask = expert(bundle=Bundle(1.0, 1, "L4"), weights=weights, kv=None)
    about = "about " if estimated else ""
    assert said([ask], machine(node(gpus=2, kind="L4"))) == [
        f"{word}: experts[0].engine.tensor_parallel_size: {about}30.0 GiB of weights on each L4, "
        "which has 20.1 GiB for them and the KV cache"
    ]
    halved = replace(ask, bundles=ask.bundles * 2)
    assert said([halved], machine(node(gpus=2, kind="L4"))) == []


def test_the_memory_of_a_gpu_that_was_seen_goes_before_the_data_sheet(machine, node):
    ask = expert(bundle=Bundle(1.0, 1, "L4"), weights=model(30), kv=4 * GIB)
    assert said([ask], machine(node(gpus=1, kind="L4", gpu_bytes=40 * GIB))) == []
    assert "has 28.0 GiB" in said([ask], machine(node(gpus=1, kind="L4", gpu_bytes=32 * GIB)))[0]


def test_a_gpu_that_nobody_knows_is_not_judged(machine, node):
    ask = expert(bundle=Bundle(1.0, 1, "MXC500"), weights=model(3000))
    assert said([ask], machine(node(gpus=1, kind="MXC500"))) == []


def test_memory_that_is_known_to_lack_is_missing(machine, node):
    ask = expert(replicas=(2, 2), kv=40 * GIB)
    assert said([expert(1), ask], machine(node())) == [
        "missing: experts[0].engine.kv_cache_memory_bytes: 84.0 GiB of weights and KV cache asked "
        "for by all, 64.0 GiB here"
    ]
    (text,) = said([expert(weights=model(65))], machine(node()))
    assert text.startswith("missing: experts[0].model: 66.0 GiB")


def test_memory_that_is_estimated_to_lack_is_a_warning(machine, node):
    ask = expert(process_bytes=63 * GIB)
    assert said([ask], machine(node())) == [
        "warning: experts[0].model: about 65.0 GiB of memory asked for by all, 64.0 GiB here"
    ]
    assert said([expert(process_bytes=9 * GIB)], machine(node(), free_bytes=8 * GIB)) == [
        "warning: memory: about 11.0 GiB asked for by all, 8.0 GiB of 64.0 GiB free now"
    ]


def test_two_engines_cannot_each_have_nearly_all_the_memory(machine, node):
    greedy = [expert(0, kv=None), expert(1, kv=None), expert(2)]
    found = said(greedy, machine(node()))
    assert [line.split(": ")[1] for line in found] == [
        f"experts[{i}].engine.kv_cache_memory_bytes" for i in (0, 1)
    ]
    assert said(greedy[1:], machine(node())) == []
    assert said(greedy, machine(node(), node())) == []


def test_one_may_if_it_is_free(machine, node):
    lone = [expert(0, kv=None)]
    assert said(lone, machine(node(), free_bytes=58 * GIB)) == []
    assert said(lone, machine(node(), free_bytes=57 * GIB)) == [
        "warning: experts[0].engine.kv_cache_memory_bytes: not set, so each replica takes 90% of a "
        "node's memory, 57.6 GiB; 57.0 GiB are free now"
    ]


def test_what_is_reserved_now_is_a_warning(machine, node):
    asks = [expert(bundle=Bundle(4.0))]
    assert said(asks, machine(node(), free_cpus=3.5, is_ray=True)) == [
        "warning: a machine: 3.5 of 8 CPUs free now, 4 asked for"
    ]


def test_a_model_without_bytes_is_missing_with_its_reason(machine, node):
    lost = Model("m", "missing", fault="package m is not installed; run make setup")
    asks = [expert(weights=lost), Ask("router", "router", (1, 1), (Bundle(0.2),), lost)]
    assert said(asks, machine(node())) == [
        "missing: experts[0].model: package m is not installed; run make setup",
        "missing: router.encoder: package m is not installed; run make setup",
    ]


def test_downloads_add_up_on_their_disk(machine, node):
    weights = replace(model(), disk_bytes=6 * GIB, disk=1, disk_free=10 * GIB)
    other = replace(weights, disk=2)
    assert said([expert(0, weights=weights), expert(1, weights=other)], machine(node())) == []
    asks = [expert(0, weights=weights), expert(1, weights=weights)]
    assert said(asks, machine(node())) == [
        "warning: experts[1].model: about 12.0 GiB to write for it and those before it, 10.0 GiB "
        "free on the disk of /m"
    ]
    # Which nodes of a cluster download, and what their disks hold, is not known here.
    assert said(asks, machine(node(), is_ray=True)) == []


def test_a_small_shared_memory_is_told(machine, node):
    small = machine(node(), store_bytes=3 * GIB, shm_bytes=GIB // 16)
    assert said([expert()], small) == [
        "warning: /dev/shm: 0.1 GiB free, Ray's object store is 3.0 GiB and goes to the disk, "
        "which is slow (docker run --shm-size)"
    ]
    assert said([expert()], machine(node(), store_bytes=GIB, shm_bytes=GIB)) == []
