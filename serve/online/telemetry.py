"""Every metric name and every response header.

Metrics go through Ray, which exports them per node with the prefix ray_, beside vLLM's own.
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

_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5]
_SIZES = [1, 2, 4, 8, 16, 32, 64, 128]
_PAIR = ("router", "challenger")


class FaultTelemetry:
    """What goes wrong at one ingress replica."""

    def __init__(self, replica: str) -> None:
        self._replica = replica
        self._failures = Counter(
            "pointsman_expert_failures_total", "Requests that an expert failed.", ("expert",)
        )
        self._circuit = Gauge(
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
        self._requests = Counter(
            "pointsman_requests_total",
            "Requests dispatched, by expert and by who chose it (router or client).",
            ("expert", "chosen_by"),
        )
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
            "From the parsed request to the decision, queueing included.",
            boundaries=_SECONDS,
        )
        self._router = Gauge(
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

    def batch(self, decided: Mapping[str, int]) -> None:
        """One forward pass decided so many queries, by the label of the artifact that acts."""
        self._passes.inc()
        for router, queries in decided.items():
            self._decided.inc(queries, tags={"router": router})
        self._batch_size.observe(sum(decided.values()))

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

    def refused(self) -> None:
        """This replica did not take an artifact."""
        self._refused.inc()

    def not_kept(self, requests: int) -> None:
        """Requests whose feedback will be refused."""
        self._not_kept.inc(requests)

    def decided(self, seconds: float) -> None:
        """One query waited this long for its decision."""
        self._seconds.observe(seconds)

    def dispatched(self, expert: str, *, by_router: bool) -> None:
        """One request goes to this expert."""
        self._requests.inc(
            tags={"expert": expert, "chosen_by": "router" if by_router else "client"}
        )


class AccessTelemetry:
    """What keys take, and who is refused, at one ingress replica."""

    def __init__(self) -> None:
        self._tokens = Counter(
            "pointsman_usage_tokens_total",
            "Tokens by key, expert and direction (input or output).",
            ("key", "expert", "direction"),
        )
        self._usd = Counter(
            "pointsman_usage_usd_total", "US dollars by key and expert.", ("key", "expert")
        )
        self._turned_away = Counter(
            "pointsman_refused_requests_total",
            "Requests refused before a decision: unauthorized, forbidden, or by which limit.",
            ("reason",),
        )
        self._ledger_lost = Counter(
            "pointsman_ledger_lost_total",
            "Requests let through uncounted, and batches of usage that had to wait, because the "
            "ledger did not answer.",
        )

    def used(
        self, key: str, expert: str, input_tokens: int, output_tokens: int, usd: float
    ) -> None:
        """One answer was paid for."""
        pair = {"key": key, "expert": expert}
        for direction, tokens in (("input", input_tokens), ("output", output_tokens)):
            if tokens > 0:
                self._tokens.inc(tokens, tags=pair | {"direction": direction})
        if usd > 0:
            self._usd.inc(usd, tags=pair)

    def turned_away(self, reason: str) -> None:
        """One request was refused: unauthorized, forbidden, requests, tokens or usd."""
        self._turned_away.inc(tags={"reason": reason})

    def ledger_lost(self) -> None:
        """The ledger did not answer once."""
        self._ledger_lost.inc()
