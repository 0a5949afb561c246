"""One query's candidates in the order to ask them, from predictions and the terms of the moment.

    bar      experts that may not answer: the request's own terms, what they can do, their state
    switch   in a conversation the others than the last expert pay for reading it anew
    rank     by the objective
    late     where load makes the first one late, or it sleeps, a declared loss of quality buys time

Knows nothing of text, vectors or the request path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from serve.protocol import Candidate, Doubles, Expert, Query
from serve.routing.bars import bar_of
from serve.routing.objective import Objective
from serve.terms import Snapshot, Status

Bools: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class Policy:
    """What load and conversations may change of a pick.

    Attributes:
        late_s: an answer expected to take longer is late; None: none is.
        quality_loss: predicted quality that may be given up for an answer that is not, and for an
            expert that does not have to be woken.
        switch_gain: predicted quality that another expert must be better by, within a
            conversation, beside what reading it anew costs.
    """

    late_s: float | None = None
    quality_loss: float = 0.05
    switch_gain: float = 0.02


@dataclass(frozen=True, eq=False)
class Terms:
    """All that ranks E experts for one query.

    Attributes:
        quality: (E,) expected, 0..1.
        cost: (E,) expected dollars.
        switch: (E,) dollars of reading the conversation anew.
        moved: (E,) whether another expert answered the turn before.
        seconds: (E,) expected time of the whole answer.
        awake: (E,) whether it has a replica.
        may: (E,) whether it may be asked.
        fastest: the query wishes the fastest within the declared loss of quality.
    """

    quality: Doubles
    cost: Doubles
    switch: Doubles
    moved: Bools
    seconds: Doubles
    awake: Bools
    may: Bools
    fastest: bool = False


def rank(terms: Terms, objective: Objective, policy: Policy) -> tuple[Doubles, list[int]]:
    """(E,) utilities, and the columns in the order to ask them; those that may not, last.

    Ties go to the cheaper expert, then to the one named first.
    """
    known = terms.quality - policy.switch_gain * terms.moved
    utility = objective.utility(known, terms.cost + terms.switch) - objective.mu * terms.seconds
    order = np.lexsort((np.arange(len(utility)), terms.cost, -utility)).tolist()
    order = _in_time(order, terms, policy)
    return utility, sorted(order, key=lambda i: not terms.may[i])


def choose(
    query: Query,
    quality: Doubles,
    input_tokens: Doubles,
    output_tokens: Doubles,
    experts: Sequence[Expert],
    objective: Objective,
    *,
    policy: Policy,
    snapshot: Snapshot,
    counted: Sequence[bool],
) -> tuple[Candidate, ...]:
    """Candidates in the order to ask them, then those that may not be asked: see rank.

    Args:
        query: what is asked.
        quality: (E,) expected, 0..1.
        input_tokens: (E,) of the prompt.
        output_tokens: (E,) expected.
        experts: E experts in column order.
        objective: what to maximise.
        policy: of load and conversations.
        snapshot: the experts now.
        counted: (E,) whether input_tokens were counted, or only estimated.
    """
    states = [snapshot.get(expert.id, Status()) for expert in experts]
    cost = _costs(experts, input_tokens, output_tokens)
    seconds = np.array([s.seconds(float(t)) for s, t in zip(states, output_tokens, strict=True)])
    bars = [
        bar_of(query, expert, float(tokens), known, float(usd), float(wait), state)
        for expert, tokens, known, usd, wait, state in zip(
            experts, input_tokens, counted, cost, seconds, states, strict=True
        )
    ]
    terms = Terms(
        quality,
        cost,
        np.array([_switch_usd(query, expert) for expert in experts]),
        np.array([query.previous not in (None, expert.id) for expert in experts]),
        seconds,
        np.array([state.wake_s == 0 for state in states]),
        np.array([bar is None for bar in bars]),
        query.wish.fastest,
    )
    utility, order = rank(terms, objective, policy)
    return tuple(
        Candidate(
            experts[i].id,
            float(quality[i]),
            float(cost[i]),
            float(utility[i]),
            int(input_tokens[i]),
            float(output_tokens[i]),
            float(seconds[i]),
            float(terms.switch[i]),
            states[i].wake_s,
            bars[i],
        )
        for i in order
    )


def _costs(experts: Sequence[Expert], input_tokens: Doubles, output_tokens: Doubles) -> Doubles:
    return np.array(
        [
            expert.cost_usd(float(before), float(after))
            for expert, before, after in zip(experts, input_tokens, output_tokens, strict=True)
        ]
    )


def _switch_usd(query: Query, expert: Expert) -> float:
    if query.previous in (None, expert.id):
        return 0.0
    return expert.cost_usd(query.prefix_tokens, 0)


def _in_time(order: list[int], terms: Terms, policy: Policy) -> list[int]:
    """The same order, but where its first is late or sleeps, those near it in quality by time."""
    quality, seconds, awake = terms.quality, terms.seconds, terms.awake
    late_s = policy.late_s if policy.late_s is not None else np.inf
    if terms.fastest:
        late_s = 0.0
    may = [i for i in order if terms.may[i]]
    if not may or (seconds[may[0]] <= late_s and awake[may[0]]):
        return order
    best = quality[may].max() if terms.fastest else quality[may[0]]
    near = [i for i in may if quality[i] >= best - policy.quality_loss]
    in_time = [i for i in near if seconds[i] <= late_s and awake[i]]
    rest = sorted((i for i in near if i not in in_time), key=lambda i: seconds[i])
    return [*in_time, *rest, *(i for i in order if i not in near)]
