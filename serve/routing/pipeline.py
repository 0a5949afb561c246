"""Read, predict, guard, choose: the decision for a batch of queries in one synchronous call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.protocol import (
    Candidate,
    Decision,
    Doubles,
    Encoder,
    Expert,
    Floats,
    Lap,
    Prediction,
    Predictor,
    Query,
    TokenCounter,
    unheard,
)
from serve.routing.choice import Policy, choose
from serve.routing.guard import Guard
from serve.routing.objective import LinearCost, Objective, traded, tradeoff_of
from serve.terms import Snapshot

NOBODY: Snapshot = {}


@dataclass(frozen=True)
class Reading:
    """What was read of B queries: once, for every router that decides on them.

    Attributes:
        vectors: (B, D).
        turns_before: row of a query -> (D,) vector of its previous_text.
        tokens: expert id -> (B,) tokens of the prompts, of the experts whose tokenizer is known.
    """

    vectors: Floats
    turns_before: Mapping[int, Floats]
    tokens: Mapping[str, Doubles]


class RoutingPipeline:
    """Decides for many queries with one forward pass of the encoder.

    Args:
        encoder: texts to vectors.
        predictor: vectors to expected quality; its columns name the experts.
        experts: the pool, in the order of the settings; same ids as the predictor's columns.
        router: label of the artifact, name and version.
        objective: what a pick maximises where the query wishes nothing else.
        guard: where the best constant decides; None trusts the predictor everywhere.
        policy: what load and conversations may change of a pick.
        counter: counts tokens by the experts' own tokenizers; None: the queries' estimates serve.
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
        policy: Policy | None = None,
        counter: TokenCounter | None = None,
    ) -> None:
        by_id = {expert.id: expert for expert in experts}
        self._encoder = encoder
        self._predictor = predictor
        self._experts = tuple(by_id[name] for name in predictor.experts)
        self._objective = objective
        self._guard = guard
        self._policy = policy or Policy()
        self._counter = counter
        self._exchange = guard.exchange if guard is not None else 1.0
        self._fixed = {
            **vars(self._policy),
            "exchange": self._exchange,
            "pool": list(predictor.experts),
        }
        self.router = router

    @property
    def best_single(self) -> str:
        """The expert that earns most on the mean prompt, by the guard's record; else the first."""
        if self._guard is None:
            return self._experts[0].id
        return self._experts[self._guard.constant(self._objective.lam)].id

    @property
    def experts(self) -> tuple[str, ...]:
        """Ids, in the order of the predictor's columns."""
        return tuple(expert.id for expert in self._experts)

    @property
    def guard(self) -> Guard | None:
        """Where the best constant decides."""
        return self._guard

    @property
    def tradeoff(self) -> float | None:
        """The wish that the objective amounts to: see traded(); None: to no tradeoff."""
        if not isinstance(self._objective, LinearCost) or self._exchange <= 0:
            return None
        return tradeoff_of(self._objective.lam, self._exchange)

    @property
    def trusted(self) -> bool:
        """Whether the router may decide where the query wishes nothing else: see Guard."""
        return self._guard is None or self._guard.trusts(self._objective.lam)

    def decide(self, queries: Sequence[Query], snapshot: Snapshot = NOBODY) -> list[Decision]:
        """One decision a query, in order."""
        return self.decide_on(self.read(queries), queries, snapshot)

    def read(self, queries: Sequence[Query], lap: Lap = unheard) -> Reading:
        """Vectors of B queries and of their turns before, in one forward pass, and their tokens."""
        texts = [query.text for query in queries]
        before = {
            row: query.previous_text
            for row, query in enumerate(queries)
            if query.previous is None and query.previous_text is not None
        }
        tokens = self._counter.count(texts) if self._counter else {}
        vectors = self._encoder.encode([*texts, *before.values()], lap)
        return Reading(
            vectors[: len(texts)],
            dict(zip(before, vectors[len(texts) :], strict=True)),
            tokens,
        )

    def decide_on(
        self,
        reading: Reading,
        queries: Sequence[Query],
        snapshot: Snapshot = NOBODY,
        lap: Lap = unheard,
    ) -> list[Decision]:
        """One decision a query, from what was read of them."""
        queries = self._with_previous(reading, queries)
        objectives = [self._objective_of(query) for query in queries]
        prediction, held = self._predict(reading.vectors, [o.lam for o in objectives])
        lap("predict")
        decisions = []
        for row, (query, objective) in enumerate(zip(queries, objectives, strict=True)):
            candidates = self._choose(query, row, prediction, reading.tokens, objective, snapshot)
            novelty = None if prediction.novelty is None else float(prediction.novelty[row])
            decisions.append(
                Decision(
                    candidates,
                    self.router,
                    objective.formula,
                    bool(held[row]),
                    novelty,
                    self._rule(objective),
                    query.previous,
                )
            )
        lap("choose")
        return decisions

    def blind(self, query: Query, snapshot: Snapshot = NOBODY) -> Decision:
        """The decision without reading the text: the experts' means, as where the guard holds.

        For a request that must be answered though the router's model does not answer.
        """
        quality = tokens = np.zeros(len(self._experts), dtype=np.float32)
        if self._guard is not None:
            quality, tokens = self._guard.quality, self._guard.output_tokens
        prediction = Prediction(quality[None], tokens[None])
        objective = self._objective_of(query)
        candidates = self._choose(query, 0, prediction, {}, objective, snapshot)
        return Decision(
            candidates,
            self.router,
            objective.formula,
            guarded=True,
            rule=self._rule(objective),
            previous=query.previous,
        )

    def _predict(
        self, vectors: Floats, lam: Sequence[float]
    ) -> tuple[Prediction, NDArray[np.bool_]]:
        prediction = self._predictor.predict(vectors)
        held = np.zeros(len(vectors), dtype=bool)
        if self._guard is not None:
            held = self._guard.holds(prediction, np.asarray(lam, dtype=np.float64))
            prediction = self._guard.apply(prediction, held)
        return prediction, held

    def _choose(
        self,
        query: Query,
        row: int,
        prediction: Prediction,
        tokens: Mapping[str, Doubles],
        objective: Objective,
        snapshot: Snapshot,
    ) -> tuple[Candidate, ...]:
        answer = prediction.output_tokens[row].astype(np.float64)
        if query.max_output_tokens is not None:
            answer = answer.clip(max=query.max_output_tokens)
        counted = [expert.id in tokens for expert in self._experts]
        prompt = [
            tokens[expert.id][row] if known else query.input_tokens
            for expert, known in zip(self._experts, counted, strict=True)
        ]
        return choose(
            query,
            prediction.quality[row].astype(np.float64),
            np.array(prompt, dtype=np.float64) + query.needs.extra_tokens,
            answer,
            self._experts,
            objective,
            policy=self._policy,
            snapshot=snapshot,
            counted=counted,
        )

    def _objective_of(self, query: Query) -> Objective:
        if query.wish.tradeoff is not None:
            return traded(query.wish.tradeoff, self._exchange)
        return LinearCost() if query.wish.fastest else self._objective

    def _rule(self, objective: Objective) -> dict[str, Any]:
        """See Decision."""
        return {"kind": objective.kind, **vars(objective), **self._fixed}

    def _with_previous(self, reading: Reading, queries: Sequence[Query]) -> list[Query]:
        """Who answered the turn before, where nobody remembers: whom it would go to now.

        Without shared memory, every ingress replica says the same.
        """
        if not reading.turns_before:
            return list(queries)
        rows = list(reading.turns_before)
        turns = [
            replace(
                queries[row],
                text=queries[row].previous_text or "",
                previous_text=None,
                input_tokens=queries[row].prefix_tokens,
            )
            for row in rows
        ]
        vectors = np.stack([reading.turns_before[row] for row in rows])
        made = self.decide_on(Reading(vectors, {}, {}), turns)
        said = {row: decision.pick.expert for row, decision in zip(rows, made, strict=True)}
        return [
            replace(query, previous=said[row]) if row in said else query
            for row, query in enumerate(queries)
        ]
