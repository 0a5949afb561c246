"""The metrics of decisions and of what goes wrong, and every response header.

Those of answers are in metering.py. Metrics go through Ray, which exports them per node with the
prefix ray_, beside vLLM's own.
"""

from __future__ import annotations

from collections.abc import Mapping

from ray.util.metrics import Counter, Gauge, Histogram

from serve.routing.rollout import Ruling

HEADER_EXPERT = "x-pointsman-expert"
HEADER_ROUTER = "x-pointsman-router"
HEADER_DECISION_MS = "x-pointsman-decision-ms"
HEADER_CASCADE = "x-pointsman-cascade"
HEADER_FALLBACK = "x-pointsman-fallback"
HEADER_REQUEST = "x-request-id"

_SECONDS = [
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
]
_SIZES = [1, 2, 4, 8, 16, 32, 64, 128]
_PAIR = ("router", "challenger")


class State(Gauge):  # type: ignore[misc]
    """A gauge of what changes seldom: Ray exports one for 20 s after it was last set."""

    def __init__(self, name: str, description: str, labels: tuple[str, ...]) -> None:
        super().__init__(name, description, labels)
        self._values: dict[tuple[tuple[str, str], ...], float] = {}

    def set(self, value: float, tags: dict[str, str]) -> None:
        """From now on."""
        self._values[tuple(tags.items())] = value
        super().set(value, tags)

    def again(self) -> None:
        """What it was set to, once more."""
        for tags, value in self._values.items():
            super().set(value, dict(tags))


class FaultTelemetry:
    """What goes wrong at one ingress replica."""

    def __init__(self, replica: str) -> None:
        self._replica = replica
        self._failures = Counter(
            "pointsman_expert_failures_total", "Requests that an expert failed.", ("expert",)
        )
        self._circuit = State(
            "pointsman_circuit_open",
            "1 while an expert gets no requests of this replica because it failed.",
            ("expert", "replica"),
        )
        self._fallbacks = Counter(
            "pointsman_fallbacks_total",
            "Requests that went on to another expert, by the one that failed.",
            ("expert",),
        )
        self._wakes = Counter(
            "pointsman_wakeups_total",
            "Times that a request found an expert without a replica and woke it.",
            ("expert",),
        )
        self._blind = Counter(
            "pointsman_blind_decisions_total",
            "Queries decided by the experts' means alone, since the router's model did not answer.",
        )

    def failed(self, expert: str) -> None:
        """One request, by an expert."""
        self._failures.inc(tags={"expert": expert})

    def circuit(self, expert: str, *, is_open: bool) -> None:
        """An expert gets no more requests of this replica, or gets them again."""
        self._circuit.set(float(is_open), tags={"expert": expert, "replica": self._replica})

    def fell_back(self, expert: str) -> None:
        """A request goes on to another expert than this one, which failed."""
        self._fallbacks.inc(tags={"expert": expert})

    def woke(self, expert: str) -> None:
        """A request found this expert without a replica."""
        self._wakes.inc(tags={"expert": expert})

    def blind(self) -> None:
        """One query was decided without the model."""
        self._blind.inc()


class Telemetry(FaultTelemetry):
    """The metrics of one ingress replica."""

    def __init__(self, replica: str) -> None:
        super().__init__(replica)
        self._serving: str | None = None
        self._passes = Counter(
            "pointsman_encoder_passes_total", "Forward passes of the router's encoder."
        )
        self._decided = Counter(
            "pointsman_decisions_total", "Queries decided, by the artifact that did.", ("router",)
        )
        self._batch_size = Histogram(
            "pointsman_batch_size", "Queries that shared a forward pass.", boundaries=_SIZES
        )
        self._seconds = Histogram(
            "pointsman_decision_seconds",
            "A decision by its stages. queue, batch_wait and total: one a query; others: a pass.",
            _SECONDS,
            ("stage",),
        )
        self._router = State(
            "pointsman_router_info",
            "1 for the artifact that a replica serves.",
            ("router", "replica"),
        )
        self._refused = Counter(
            "pointsman_router_refused_total", "Artifacts that a replica refused to take."
        )
        self._compared = Counter(
            "pointsman_challenger_compared_total", "Queries that both artifacts decided.", _PAIR
        )
        self._differs = Counter(
            "pointsman_challenger_differs_total", "Those on which they pick other experts.", _PAIR
        )
        self._regret = Counter(
            "pointsman_challenger_regret_total",
            "Utility that the challenger's picks lose, by the served router's predictions.",
            _PAIR,
        )
        self._not_kept = Counter(
            "pointsman_records_lost_total", "Requests that the database of feedback did not take."
        )

    def batch(self, decided: Mapping[str, int], stages: Mapping[str, float]) -> None:
        """One forward pass.

        Args:
            decided: queries, by the label of the artifact that acts.
            stages: seconds.
        """
        self._passes.inc()
        for router, queries in decided.items():
            self._decided.inc(queries, tags={"router": router})
        self._batch_size.observe(sum(decided.values()))
        for stage, seconds in stages.items():
            self._seconds.observe(seconds, tags={"stage": stage})

    def compared(self, ruling: Ruling) -> None:
        """One query that a challenger may have decided too."""
        if ruling.challenger is None:
            return
        pair = {"router": ruling.champion.router, "challenger": ruling.challenger.router}
        self._compared.inc(tags=pair)
        if ruling.differs:
            self._differs.inc(tags=pair)
        if ruling.regret > 0:
            self._regret.inc(ruling.regret, tags=pair)

    def serving(self, router: str) -> None:
        """This replica serves that artifact from now on."""
        if self._serving is not None:
            self._router.set(0, tags={"router": self._serving, "replica": self._replica})
        self._serving = router
        self._router.set(1, tags={"router": router, "replica": self._replica})

    def again(self) -> None:
        """States are as they were: to be said every few seconds."""
        self._circuit.again()
        self._router.again()

    def refused(self) -> None:
        """This replica did not take an artifact."""
        self._refused.inc()

    def not_kept(self, requests: int) -> None:
        """Requests whose feedback will be refused."""
        self._not_kept.inc(requests)

    def decided(self, seconds: float, waited: Mapping[str, float]) -> None:
        """One query has its decision.

        Args:
            seconds: in all.
            waited: seconds of the stages that are its own.
        """
        self._seconds.observe(seconds, tags={"stage": "total"})
        for stage, wait in waited.items():
            self._seconds.observe(wait, tags={"stage": stage})
