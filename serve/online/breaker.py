"""A circuit breaker: an expert that fails gets no requests until a probe says that it is back.

closed     requests go to it
open       none do; something else probes it (fleet.py)
half open  the probe was answered: one request tries it, the others go elsewhere
"""

from __future__ import annotations


class Breaker:
    """The state of one expert's circuit.

    Args:
        failures: in a row, until it opens.
    """

    def __init__(self, failures: int) -> None:
        self._limit = failures
        self._in_a_row = 0
        self._reason: str | None = None
        self._half_open = self._trying = False

    @property
    def is_open(self) -> bool:
        """Whether a probe is needed."""
        return self._reason is not None and not self._half_open

    @property
    def refuses(self) -> str | None:
        """Why a request may not go there now; None: it may."""
        if self._reason is None or (self._half_open and not self._trying):
            return None
        return self._reason

    def enter(self) -> None:
        """A request that was not refused goes there."""
        self._trying = self._half_open

    def succeeded(self) -> None:
        """A request was answered."""
        self._in_a_row, self._reason = 0, None
        self._half_open = self._trying = False

    def left(self) -> None:
        """A request ended and told nothing, as where its client went away."""
        self._trying = False

    def failed(self, reason: str, *, fatal: bool = False) -> bool:
        """A request failed; True where this opened the circuit."""
        was_open = self.is_open
        self._in_a_row += 1
        if fatal or self._half_open or self._in_a_row >= self._limit:
            self._reason = reason
            self._half_open = self._trying = False
        return self.is_open and not was_open

    def probed(self) -> None:
        """A probe was answered."""
        self._half_open, self._trying = True, False
