"""How long an expert that sleeps, without a replica, takes to answer; how many may wait for it."""

from __future__ import annotations

import time


class Wake:
    """What one ingress replica knows of it.

    Args:
        longest_s: a start may take, at most; expected until one was seen.
        most: requests that may wait for one.
    """

    def __init__(self, longest_s: float, most: int) -> None:
        self.longest_s = longest_s
        self.waiting = 0
        self._most = most
        self._took = longest_s
        self._began: float | None = None

    @property
    def expected_s(self) -> float:
        """Seconds from now until it answers, were a request to ask it now."""
        return max(1.0, self._took - (self._since() or 0.0))

    @property
    def fill(self) -> float:
        """Share of its wake-up queue that is taken."""
        return self.waiting / self._most

    def begins(self) -> bool:
        """A request wakes it; False where it is waking already."""
        if self._since() is not None:
            return False
        self._began = time.monotonic()
        return True

    def ended(self) -> None:
        """It has a replica."""
        if self._began is not None:
            self._took = time.monotonic() - self._began
            self._began = None

    def _since(self) -> float | None:
        """Seconds since it began to wake; None: it does not, or that start came to nothing."""
        if self._began is None:
            return None
        gone = time.monotonic() - self._began
        return None if gone > self.longest_s else gone
