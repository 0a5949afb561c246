"""The metrics of answers: what they took, cost and saved, how fast they came; by key and expert.

Those of the decision, and of what goes wrong, are in telemetry.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from ray.util.metrics import Counter, Gauge, Histogram

from serve.online.apis.base import Bill
from serve.protocol import Decision

_FIRST = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0]
_TOKEN = [0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0]
_ANSWER = [0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0]
_QUALITY = [step / 40 for step in range(1, 41)]
"""Fine, for their mean: Ray's agent exports every observation as the middle of its bucket."""
_EXPERT = ("expert",)


class StateTelemetry:
    """What one ingress replica is like now.

    Args:
        replica: labels every figure.
    """

    def __init__(self, replica: str) -> None:
        self._replica = replica
        self._guarding: str | None = None
        self._share = Gauge(
            "pointsman_expert_share",
            "Share of a replica's last 500 routed requests.",
            ("expert", "replica"),
        )
        self._depth = Gauge(
            "pointsman_expert_queue_depth",
            "Requests of a replica that are under way at an expert.",
            ("expert", "replica"),
        )
        self._ood = Gauge(
            "pointsman_ood_ratio",
            "Share of a replica's last 500 routed requests that are unlike any training prompt.",
            ("replica",),
        )
        self._guard = Gauge(
            "pointsman_guard_active",
            "1 while the router steps aside at the settings' objective.",
            ("router", "replica"),
        )

    def now(
        self,
        shares: Mapping[str, float],
        ood_ratio: float,
        depths: Mapping[str, int],
        router: str,
        *,
        guarded: bool,
    ) -> None:
        """The figures of this moment, by expert."""
        for expert, share in shares.items():
            self._share.set(share, tags={"expert": expert, "replica": self._replica})
        for expert, depth in depths.items():
            self._depth.set(depth, tags={"expert": expert, "replica": self._replica})
        self._ood.set(ood_ratio, tags={"replica": self._replica})
        if self._guarding not in (None, router):
            self._guard.set(0, tags={"router": str(self._guarding), "replica": self._replica})
        self._guarding = router
        self._guard.set(float(guarded), tags={"router": router, "replica": self._replica})


class AnswerTelemetry(StateTelemetry):
    """The answers of one ingress replica.

    Args:
        replica: labels what is a state and not a count.
    """

    def __init__(self, replica: str) -> None:
        super().__init__(replica)
        self._requests = Counter(
            "pointsman_requests_total",
            "Requests dispatched, by expert and by who chose it (router or client).",
            ("expert", "chosen_by"),
        )
        self._errors = Counter(
            "pointsman_errors_total",
            "Requests that ended in an error, by its HTTP status; a stream that broke off: stream.",
            ("status",),
        )
        self._shed = Counter(
            "pointsman_shed_total", "Requests refused because every queue was full."
        )
        self._saved = Counter(
            "pointsman_cost_saved_usd_total",
            "US dollars that answers cost less than another expert's for as many tokens.",
            ("against",),
        )
        self._lost = Counter(
            "pointsman_cost_lost_usd_total",
            "US dollars that answers cost more than that expert's. The net saving: saved - lost.",
            ("against",),
        )
        self._first = Histogram(
            "pointsman_ttft_seconds",
            "Streamed answers: from asking the expert to the first token.",
            _FIRST,
            _EXPERT,
        )
        self._token = Histogram(
            "pointsman_time_per_output_token_seconds",
            "Streamed answers: every token after the first, mean of an answer.",
            _TOKEN,
            _EXPERT,
        )
        self._answer = Histogram(
            "pointsman_answer_seconds", "From asking the expert to the last byte.", _ANSWER, _EXPERT
        )
        self._predicted = Histogram(
            "pointsman_predicted_quality",
            "Predicted quality of whom a routed request went to, 0..1.",
            _QUALITY,
            _EXPERT,
        )
        self._measured = Histogram(
            "pointsman_measured_quality", "Scores of /v1/feedback, 0..1.", _QUALITY, _EXPERT
        )
        self._guarded = Counter(
            "pointsman_guarded_decisions_total",
            "Routed requests that the guard decided.",
            ("router",),
        )

    def dispatched(self, expert: str, decision: Decision | None) -> None:
        """One request goes to this expert, by a decision or, None, by the client's choice."""
        chosen_by = "client" if decision is None else "router"
        self._requests.inc(tags={"expert": expert, "chosen_by": chosen_by})
        if decision is None:
            return
        quality = next(c.quality for c in decision.candidates if c.expert == expert)
        self._predicted.observe(quality, tags={"expert": expert})
        if decision.guarded:
            self._guarded.inc(tags={"router": decision.router})

    def billed(self, bill: Bill) -> None:
        """One answer was paid for."""
        for against, other in (
            ("best_single", bill.best_single_usd),
            ("priciest", bill.priciest_usd),
        ):
            if other > bill.cost_usd:
                self._saved.inc(other - bill.cost_usd, tags={"against": against})
            elif other < bill.cost_usd:
                self._lost.inc(bill.cost_usd - other, tags={"against": against})

    def answered(self, expert: str, first: float | None, total: float, tokens: int) -> None:
        """One whole answer.

        Args:
            expert: id.
            first: seconds to the first token; None: it was not streamed.
            total: seconds to the last.
            tokens: of the answer.
        """
        tags = {"expert": expert}
        self._answer.observe(total, tags=tags)
        if first is not None:
            self._first.observe(first, tags=tags)
            if tokens > 1:
                self._token.observe((total - first) / (tokens - 1), tags=tags)

    def ended_in(self, status: str) -> None:
        """One request ended in an error."""
        self._errors.inc(tags={"status": status})

    def shed(self) -> None:
        """One request was refused, every queue being full."""
        self._shed.inc()

    def measured(self, expert: str, score: float) -> None:
        """Somebody says what an answer was worth."""
        self._measured.observe(score, tags={"expert": expert})


class AccessTelemetry:
    """What keys take, and who is refused, at one ingress replica."""

    def __init__(self) -> None:
        self._tokens = Counter(
            "pointsman_usage_tokens_total",
            "Tokens by key, expert and direction (input or output).",
            ("key", "expert", "direction"),
        )
        self._usd = Counter(
            "pointsman_cost_usd_total",
            "US dollars of the answers, by key and expert.",
            ("key", "expert"),
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
