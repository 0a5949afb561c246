"""Encode, predict, guard, rank: the decision for a batch of queries in one synchronous call."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serve.protocol import Decision, Encoder, Expert, Floats, Predictor, Query
from serve.routing.guard import Guard
from serve.routing.objective import Objective, rank


class RoutingPipeline:
    """Decides for many queries with one forward pass of the encoder.

    Args:
        encoder: texts to vectors.
        predictor: vectors to expected quality; its columns name the experts.
        experts: the pool, in the order of the settings; same ids as the predictor's columns.
        router: label of the artifact, name and version.
        objective: what a pick maximises.
        guard: where the best constant decides; None trusts the predictor everywhere.
    """

    def __init__(
        self,
        encoder: Encoder,
        predictor: Predictor,
        experts: Sequence[Expert],
        *,
        router: str,
        objective: Objective,
        guard: Guard | None = None,
    ) -> None:
        by_id = {expert.id: expert for expert in experts}
        self._encoder = encoder
        self._predictor = predictor
        self._experts = tuple(by_id[name] for name in predictor.experts)
        self._objective = objective
        self._guard = guard
        self.router = router

    def decide(self, queries: Sequence[Query]) -> list[Decision]:
        """One decision a query, in order."""
        return self.decide_on(self.encode(queries), queries)

    def encode(self, queries: Sequence[Query]) -> Floats:
        """(B,) queries -> (B, D), in one forward pass."""
        return self._encoder.encode([query.text for query in queries])

    def decide_on(self, vectors: Floats, queries: Sequence[Query]) -> list[Decision]:
        """One decision a query, from its vector: (B, D), as encode gives them."""
        prediction = self._predictor.predict(vectors)
        held = np.zeros(len(queries), dtype=bool)
        if self._guard is not None:
            held = self._guard.holds(prediction, self._objective.lam)
            prediction = self._guard.apply(prediction, held)
        decisions = []
        for row, query in enumerate(queries):
            tokens = prediction.output_tokens[row]
            if query.max_output_tokens is not None:
                tokens = tokens.clip(max=query.max_output_tokens)
            candidates = rank(
                self._objective,
                prediction.quality[row],
                tokens,
                query.input_tokens,
                self._experts,
            )
            novelty = None if prediction.novelty is None else float(prediction.novelty[row])
            decisions.append(
                Decision(candidates, self.router, self._objective.formula, bool(held[row]), novelty)
            )
        return decisions
