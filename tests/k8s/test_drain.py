"""What a worker does before it stops, in a PID namespace of its own, with a fake `ray` command."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.k8s.conftest import ROOT

DRAIN = ROOT / "k8s/images/drain.py"
APART = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc")
REPLICA = "(exec -a ray::ServeReplica:pointsman:RouterIngress sleep 100) & replica=$!\n"
"""A fake replica: its title is what is looked at."""


@pytest.fixture(scope="module", autouse=True)
def namespaces():
    if subprocess.run([*APART, "true"], capture_output=True).returncode:
        pytest.skip(
            "no PID namespace can be made here, and drain.py looks at every process it sees"
        )


@pytest.fixture
def drained(tmp_path):
    """Runs drain.py after a script, beside a fake `ray` that runs another; what `ray` was told."""

    def run(before: str, ray: str, seconds: int = 100) -> tuple[list[str], str]:
        told = tmp_path / "told"
        told.touch()
        fake = tmp_path / "ray"
        fake.write_text(f"#!/bin/bash\necho $* >> {told}\n{ray}\n")
        fake.chmod(0o755)
        script = (
            f"{before}export replica\nPATH={tmp_path}:$PATH {sys.executable} {DRAIN} {seconds}\n"
        )
        after = "kill -0 $replica 2> /dev/null && echo left || echo gone"
        done = subprocess.run(
            [*APART, "bash", "-c", script + after], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return told.read_text().splitlines(), done.stdout.strip()

    return run


def test_it_waits_until_ray_has_moved_the_replica(drained):
    told, left = drained(REPLICA, "{ sleep 2; kill $replica; } > /dev/null 2>&1 &")
    assert told == [
        "drain-node --reason DRAIN_NODE_REASON_PREEMPTION "
        "--reason-message the pod is stopping --deadline-remaining-seconds 100"
    ]
    assert left == "gone"


def test_it_does_not_wait_where_ray_moves_nothing(drained):
    assert drained(REPLICA, "exit 1")[1] == "left"


def test_it_does_not_wait_longer_than_told(drained):
    assert drained(REPLICA, "exit 0", seconds=2)[1] == "left"


def test_a_worker_without_replicas_asks_nobody(drained):
    assert drained("replica=0\n", "exit 0")[0] == []
