"""What Ray finds on this machine, or would were it started here.

Ray says so by private classes alone; see serve_llm.py for the others.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from ray._common.utils import get_system_memory
from ray._private.resource_and_label_spec import ResourceAndLabelSpec
from ray._private.services import get_ray_address_from_environment

_SHM = Path("/dev/shm")


def resources() -> dict[str, Any]:
    """The node's resources in Ray's form, counted within cgroups and CUDA_VISIBLE_DEVICES."""
    # Ray would log that it minds a container's limits.
    os.environ.setdefault("RAY_DISABLE_DOCKER_CPU_WARNING", "1")
    spec = ResourceAndLabelSpec().resolve(is_head=True, node_ip_address="127.0.0.1")
    found: dict[str, Any] = spec.to_resource_dict()
    return found


def running_cluster() -> str:
    """Address that RAY_ADDRESS names, or of a cluster that was started on this machine and may run.

    Raises:
        ConnectionError: there is none.
    """
    return str(get_ray_address_from_environment("auto", None))


def memory_bytes() -> int:
    """Of this machine, or of its container."""
    return int(get_system_memory())


def shared_memory_bytes() -> int | None:
    """Free in /dev/shm; None: there is none."""
    return shutil.disk_usage(_SHM).free if _SHM.is_dir() else None
