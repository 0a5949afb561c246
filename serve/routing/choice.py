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

import numpy as np

from serve.protocol import Candidate, Doubles, Expert, Query
from serve.routing.bars import bar_of
from serve.routing.objective import Objective
from serve.terms import Bar, Snapshot, Status


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
    """Candidates in the order to ask them, then those that may not be asked.

    Ties go to the cheaper expert, then to the one named first.

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
    switch = np.array([_switch_usd(query, expert) for expert in experts])
    moved = np.array([query.previous not in (None, expert.id) for expert in experts])
    utility = objective.utility(quality - policy.switch_gain * moved, cost + switch)
    utility = utility - objective.mu * seconds
    bars = [
        bar_of(query, expert, float(tokens), known, float(usd), float(wait), state)
        for expert, tokens, known, usd, wait, state in zip(
            experts, input_tokens, counted, cost, seconds, states, strict=True
        )
    ]
    order = np.lexsort((np.arange(len(experts)), cost, -utility)).tolist()
    awake = [state.wake_s == 0 for state in states]
    order = _in_time(order, bars, quality, seconds, awake, query, policy)
    return tuple(
        Candidate(
            experts[i].id,
            float(quality[i]),
            float(cost[i]),
            float(utility[i]),
            int(input_tokens[i]),
            float(output_tokens[i]),
            float(seconds[i]),
            float(switch[i]),
            states[i].wake_s,
            bars[i],
        )
        for i in sorted(order, key=lambda i: bars[i] is not None)
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


def _in_time(
    order: list[int],
    bars: Sequence[Bar | None],
    quality: Doubles,
    seconds: Doubles,
    awake: Sequence[bool],
    query: Query,
    policy: Policy,
) -> list[int]:
    """The same order, but where its first is late or sleeps, those near it in quality by time."""
    late_s = policy.late_s if policy.late_s is not None else np.inf
    if query.wish.fastest:
        late_s = 0.0
    first = next((i for i in order if bars[i] is None), None)
    if first is None or (seconds[first] <= late_s and awake[first]):
        return order
    may = [i for i in order if bars[i] is None]
    best = quality[may].max() if query.wish.fastest else quality[first]
    near = [i for i in may if quality[i] >= best - policy.quality_loss]
    in_time = [i for i in near if seconds[i] <= late_s and awake[i]]
    rest = sorted((i for i in near if i not in in_time), key=lambda i: seconds[i])
    return [*in_time, *rest, *(i for i in order if i not in near)]
