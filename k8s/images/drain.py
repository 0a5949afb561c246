"""Before a worker pod stops: Ray moves its replicas to other workers, and what they answer ends.

    python drain.py SECONDS

Serve starts each replica's successor first, and lets the old one finish; then it ends the HAProxy
here. This ends when both are gone, when the head is, since nobody moves anything then, or after
SECONDS.
"""

from __future__ import annotations

import subprocess
import sys
import time

import psutil

REASON = ("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "the pod is stopping")
ASK_EVERY_S = 15.0
"""How often the head is asked whether it lives: a command of Ray's takes a second of a core."""
PATIENCE_S = 30.0
"""For a command of Ray's, which waits long for a head that is gone."""


def serving() -> bool:
    """Whether a replica or a HAProxy of Serve's is left in this pod, by the names of processes."""
    for process in psutil.process_iter(["name", "cmdline"]):
        title = " ".join(process.info["cmdline"] or ())
        if title.startswith("ray::ServeReplica") or process.info["name"] == "haproxy":
            return True
    return False


def ray(*words: object) -> bool:
    """Whether that command of Ray's, of the cluster that RAY_ADDRESS names, succeeds in time."""
    try:
        return not subprocess.run(["ray", *map(str, words)], timeout=PATIENCE_S).returncode
    except subprocess.TimeoutExpired:
        return False


def main(seconds: float) -> None:
    """Drain this node."""
    end = time.monotonic() + seconds
    if not serving():
        return
    if not ray("drain-node", *REASON, "--deadline-remaining-seconds", int(seconds)):
        return
    asked = time.monotonic()
    while serving() and time.monotonic() < end:
        time.sleep(1)
        if time.monotonic() - asked > ASK_EVERY_S:
            if not ray("health-check"):
                return
            asked = time.monotonic()


if __name__ == "__main__":
    main(float(sys.argv[1]))
