"""Encode, predict, rank: the whole decision for a batch of queries, in one synchronous call."""

from __future__ import annotations

from collections.abc import Sequence

from serve.protocol import Decision, Encoder, Expert, Predictor, Query
from serve.routing.objective import linear_cost


class RoutingPipeline:
    """Decides for many queries with one forward pass of the encoder.

    Args:
        encoder: texts to vectors.
        predictor: vectors to expected quality; its columns name the experts.
        experts: the pool, in the order of the settings; same ids as the predictor's columns.
        router: label of the artifact, name and version.
        lam: quality that one dollar is worth (routing/objective.py).
    """

    def __init__(
        self,
        encoder: Encoder,
        predictor: Predictor,
        experts: Sequence[Expert],
        *,
        router: str,
        lam: float,
    ) -> None:
        by_id = {expert.id: expert for expert in experts}
        self._encoder = encoder
        self._predictor = predictor
        self._experts = tuple(by_id[name] for name in predictor.experts)
        self._lam = lam
        self.router = router

    def decide(self, queries: Sequence[Query]) -> list[Decision]:
        """One decision a query, in order."""
        vectors = self._encoder.encode([query.text for query in queries])
        prediction = self._predictor.predict(vectors)
        decisions = []
        for row, query in enumerate(queries):
            tokens = prediction.output_tokens[row]
            if query.max_output_tokens is not None:
                tokens = tokens.clip(max=query.max_output_tokens)
            candidates = linear_cost(
                prediction.quality[row],
                tokens,
                query.input_tokens,
                self._experts,
                lam=self._lam,
            )
            decisions.append(
                Decision(candidates, self.router, f"quality - {self._lam:g} * cost_usd")
            )
        return decisions
