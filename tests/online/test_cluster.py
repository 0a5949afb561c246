"""On a small real Ray, and on this machine."""

from __future__ import annotations

import os
import socket

import psutil
import pytest
import ray

from serve.errors import SettingsError
from serve.online import ray_node
from serve.online.cluster import cluster_at, leave_dead_cluster


@pytest.fixture(scope="module")
def small_ray():
    ray.shutdown()  # building a deployment in another test may have started one
    ray.init(
        "local",
        num_cpus=3,
        num_gpus=2,
        resources={"accelerator_type:L4": 1},
        object_store_memory=10**8,
        include_dashboard=False,
        log_to_driver=False,
    )
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.fixture(autouse=True)
def no_address(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS")


def test_a_ray_cluster_says_what_it_has_and_what_is_free(small_ray):
    cluster = cluster_at(None)
    assert cluster.is_ray and cluster.name == f"the Ray cluster at {small_ray}"
    (node,) = cluster.nodes
    assert (node.cpus, node.gpus, node.accelerator_type) == (3.0, 2, "L4")
    assert cluster.gpus == {"L4": 2}
    assert 10**8 < node.memory_bytes <= ray_node.memory_bytes()
    assert (cluster.free_cpus, cluster.free_gpus) == (3.0, 2.0)
    assert cluster.free_bytes is None and cluster.shm_bytes is None


def test_the_connection_of_the_process_stays(small_ray):
    cluster_at(None)
    assert ray.is_initialized()


def test_local_is_this_machine_whatever_runs_on_it(small_ray):
    cluster = cluster_at("local")
    assert not cluster.is_ray and cluster.name == "this machine"
    (node,) = cluster.nodes
    assert 1 <= node.cpus <= psutil.cpu_count()
    assert cluster.free_bytes < node.memory_bytes <= psutil.virtual_memory().total
    assert cluster.store_bytes > 0


@pytest.fixture
def no_ray():
    ray.shutdown()


def test_ray_address_is_what_is_asked(no_ray, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert cluster_at(None).name == "this machine"


def test_where_nothing_answers_one_line_says_so_at_once(no_ray):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(SettingsError, match=f"^{address}: no Ray cluster answers there"):
            cluster_at(address)


def test_a_dashboard_is_no_cluster(no_ray):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(SettingsError, match="Invalid Ray address") as raised:
            cluster_at(address)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("address", ["127.0.0.1:port", "nohost.invalid:6379"])
def test_nor_is_what_is_no_address(no_ray, address):
    with pytest.raises(SettingsError, match=f"^{address}: "):
        cluster_at(address)


def test_a_cluster_that_was_killed_leaves_this_machine(no_ray, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        stale = f"127.0.0.1:{free.getsockname()[1]}"
        monkeypatch.setattr(ray_node, "running_cluster", lambda: stale)
        assert cluster_at(None).name == "this machine"
        assert leave_dead_cluster() == stale
    assert os.environ["RAY_ADDRESS"] == "local" and leave_dead_cluster() is None


def test_one_that_runs_is_joined(no_ray, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(ray_node, "running_cluster", lambda: address)
        assert leave_dead_cluster() is None
    assert "RAY_ADDRESS" not in os.environ


def test_where_none_was_started_ray_decides(no_ray, monkeypatch):
    def none():
        raise ConnectionError

    monkeypatch.setattr(ray_node, "running_cluster", none)
    assert leave_dead_cluster() is None
    assert "RAY_ADDRESS" not in os.environ
