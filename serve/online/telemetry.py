"""Every metric name and every response header.

Metrics go through Ray, which exports them per node with the prefix ray_, beside vLLM's own.
"""

from __future__ import annotations

from ray.util.metrics import Counter, Histogram

HEADER_EXPERT = "x-pointsman-expert"
HEADER_ROUTER = "x-pointsman-router"
HEADER_DECISION_MS = "x-pointsman-decision-ms"

_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5]
_SIZES = [1, 2, 4, 8, 16, 32, 64, 128]


class Telemetry:
    """The metrics of one ingress replica."""

    def __init__(self) -> None:
        self._requests = Counter(
            "pointsman_requests_total",
            "Requests dispatched, by expert and by who chose it (router or client).",
            ("expert", "chosen_by"),
        )
        self._passes = Counter(
            "pointsman_encoder_passes_total", "Forward passes of the router's encoder."
        )
        self._decided = Counter("pointsman_decisions_total", "Queries decided by the router.")
        self._batch_size = Histogram(
            "pointsman_batch_size", "Queries that shared a forward pass.", boundaries=_SIZES
        )
        self._seconds = Histogram(
            "pointsman_decision_seconds",
            "From the parsed request to the decision, queueing included.",
            boundaries=_SECONDS,
        )

    def batch(self, size: int) -> None:
        """One forward pass decided `size` queries."""
        self._passes.inc()
        self._decided.inc(size)
        self._batch_size.observe(size)

    def decided(self, seconds: float) -> None:
        """One query waited this long for its decision."""
        self._seconds.observe(seconds)

    def dispatched(self, expert: str, *, by_router: bool) -> None:
        """One request goes to this expert."""
        self._requests.inc(
            tags={"expert": expert, "chosen_by": "router" if by_router else "client"}
        )
