from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.config import parse_settings
from serve.errors import SettingsError
from serve.sizing.asks import (
    ENGINE_BYTES,
    GIB,
    INGRESS_BYTES,
    RAY_BYTES,
    VLLM_SHARE,
    Amount,
    Ask,
    Bundle,
    asks_of,
    totals,
    variables,
)
from serve.sizing.models import Model

WEIGHTS = Model("m", "directory", "/m", bytes=2 * GIB)
ENCODER = Model("e", "package", "/e", bytes=GIB)


def asks(*experts, router=None, weights=WEIGHTS):
    raw = [{"id": f"e{i}", "model": "org/model"} | expert for i, expert in enumerate(experts)]
    for expert in raw:
        if "remote" in expert:
            del expert["model"]
    settings = parse_settings({"experts": raw, "router": router or {}}, "f.yaml")
    models = {f"experts[{i}]": weights for i, e in enumerate(raw) if "model" in e}
    return asks_of(settings, {**models, "router": ENCODER})


def test_there_is_a_row_for_each_expert_the_router_and_ray():
    rows = asks({}, {"remote": {"url": "http://c/v1"}})
    assert [row.key for row in rows] == ["experts[0]", "experts[1]", "router", "ray"]
    assert [row.name for row in rows] == ["e0", "e1", "router", "Ray itself"]
    assert rows[2].least.memory_bytes == INGRESS_BYTES + GIB
    assert rows[3].most == Amount(memory_bytes=RAY_BYTES)


def test_a_cpu_engine_holds_its_weights_its_cache_and_its_processes():
    engine = {"kv_cache_memory_bytes": 3 * GIB, "tensor_parallel_size": 2}
    scaling = {"min_replicas": 2, "max_replicas": 5}
    row = asks({"cpus": 1.5, "engine": engine, "autoscaling": scaling})[0]
    assert row.bundles == (Bundle(1.5),)
    assert row.least == Amount(3.0, {}, 2 * (ENGINE_BYTES + 5 * GIB), 2 * 5 * GIB)
    assert row.most == Amount(7.5, {}, 5 * (ENGINE_BYTES + 5 * GIB), 5 * 5 * GIB)


def test_a_gpu_engine_asks_for_a_gpu_and_its_cpus_for_each_worker():
    engine = {"tensor_parallel_size": 2, "pipeline_parallel_size": 3}
    row = asks({"cpus": 2, "accelerator_type": "L4", "engine": engine})[0]
    assert row.bundles == (Bundle(2.0, 1, "L4"),) * 6
    assert row.least == Amount(12.0, {"L4": 6}, 6 * ENGINE_BYTES, 0)


def test_the_share_of_the_memory_is_vllms_unless_the_settings_say_another():
    said, unsaid = asks({"engine": {"gpu_memory_utilization": 0.5}}, {})[:2]
    assert (said.kv_share, unsaid.kv_share) == (0.5, VLLM_SHARE)
    assert said.kv_bytes is None and unsaid.kv_bytes is None


def test_the_older_variable_of_the_cpu_cache_wins_as_in_vllm():
    engine = {"kv_cache_memory_bytes": GIB}
    row = asks({"engine": engine, "env": {"VLLM_CPU_KVCACHE_SPACE": "4"}})[0]
    assert row.kv_bytes == 4 * GIB


def test_guessed_weights_are_in_the_memory_and_not_in_what_is_known():
    guessed = replace(WEIGHTS, estimated=True)
    row = asks({"engine": {"kv_cache_memory_bytes": GIB}}, weights=guessed)[0]
    assert row.least.known_bytes == GIB
    assert row.least.memory_bytes == ENGINE_BYTES + 3 * GIB


def test_what_runs_elsewhere_asks_for_nothing():
    row = asks({"remote": {"url": "http://c/v1"}})[0]
    assert row.most == row.least == Amount() and row.elsewhere == "http://c/v1"


@pytest.mark.parametrize("value", ["two", 0, -1, [2]])
def test_an_argument_that_is_counted_with_must_be_a_number(value):
    with pytest.raises(SettingsError, match=r"experts\.e0\.engine\.tensor_parallel_size: must be"):
        asks({"engine": {"tensor_parallel_size": value}})


def test_variables_are_told_with_their_keys():
    remote = {"url": "http://c/v1", "api_key_env": "CLOUD"}
    experts = [{"id": "a", "model": "org/m"}, {"id": "b", "remote": remote}]
    raw = {"experts": experts, "router": {}, "access": {"redis": "URL"}}
    raw["tracing"] = {"endpoint": "http://c:4318", "headers_env": "OTLP"}
    assert variables(parse_settings(raw, "f")) == [
        ("CLOUD", "experts[1].remote.api_key_env"),
        ("URL", "access.redis"),
        ("OTLP", "tracing.headers_env"),
    ]


bundles = st.builds(
    Bundle,
    cpus=st.integers(0, 64).map(lambda n: n / 4),
    gpus=st.just(1),
    accelerator_type=st.sampled_from(["L4", "H100"]),
) | st.builds(Bundle, cpus=st.integers(0, 64).map(lambda n: n / 4))
sizes = st.integers(0, 2**40)
rows = st.builds(
    Ask,
    key=st.just("k"),
    name=st.just("n"),
    replicas=st.tuples(st.integers(0, 9), st.integers(0, 9)).map(lambda p: tuple(sorted(p))),
    bundles=st.tuples(bundles)
    | st.tuples(bundles, bundles).filter(
        lambda two: two[0].accelerator_type == two[1].accelerator_type
    ),
    model=st.builds(Model, st.just("m"), st.just("cache"), bytes=sizes, estimated=st.booleans()),
    kv_bytes=sizes | st.none(),
    process_bytes=sizes,
)


def parts(amount):
    kinds = ("L4", "H100")
    gpus = [amount.gpus.get(kind, 0) for kind in kinds]
    return [amount.cpus, *gpus, amount.memory_bytes, amount.known_bytes]


@given(st.lists(rows))
def test_the_totals_are_the_sums_of_the_rows(all_rows):
    for total, bound in zip(totals(all_rows), (0, 1), strict=True):
        each = [parts(row.amount(row.replicas[bound])) for row in all_rows]
        assert parts(total) == [sum(column) for column in zip([0] * 5, *each, strict=True)]


@given(rows, st.integers(0, 9), st.integers(0, 9))
def test_more_replicas_never_ask_for_less(row, one, other):
    fewer, more = sorted((one, other))
    for less, much in zip(parts(row.amount(fewer)), parts(row.amount(more)), strict=True):
        assert less <= much
    assert row.amount(more).known_bytes <= row.amount(more).memory_bytes
