"""A pool of experts as it can change without training: predictor, guard, and n probes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from serve.offline.fit.data import Rows, complete
from serve.offline.guard import sweep_of
from serve.offline.metrics import Picks
from serve.offline.pool.probes import Probes
from serve.protocol import Doubles, Expert, Floats, OpenPredictor
from serve.routing.guard import Guard


@dataclass(frozen=True)
class Answered:
    """What a new expert did with m probes.

    Attributes:
        expert: its id and prices.
        rows: (m,) which probes, in the order of use.
        quality: (m,), 0..1.
        input_tokens: (m,).
        output_tokens: (m,).
    """

    expert: Expert
    rows: Rows
    quality: Floats
    input_tokens: Floats
    output_tokens: Floats

    @property
    def cost(self) -> Doubles:
        """(m,) dollars."""
        return np.array(
            [
                self.expert.cost_usd(float(i), float(o))
                for i, o in zip(self.input_tokens, self.output_tokens, strict=True)
            ]
        )

    def of(self, chosen: Rows) -> Answered:
        """Some of the answers, by their place in `rows`."""
        return Answered(
            self.expert,
            self.rows[chosen],
            self.quality[chosen],
            self.input_tokens[chosen],
            self.output_tokens[chosen],
        )


@dataclass(frozen=True)
class Pool:
    """E experts, what routes among them, and n probes.

    Attributes:
        predictor: of the E experts.
        guard: of the same.
        probes: under the same.
    """

    predictor: OpenPredictor
    guard: Guard
    probes: Probes

    def on(self, rows: Rows) -> Pool:
        """The same on some of the probes."""
        return replace(self, probes=self.probes.rows(rows))

    @property
    def quality(self) -> Doubles:
        """(n, E), measured; a gap is filled so that it prefers no expert."""
        return complete(self.probes.table.quality.to_numpy(dtype=np.float32))[0]

    @property
    def output_tokens(self) -> Doubles:
        """(n, E), measured; gaps are filled likewise, and what no table logged is 0."""
        logged = self.probes.table.tensors.get("out_tokens")
        if logged is None:
            return np.zeros(self.probes.costs.measured.shape)
        return np.nan_to_num(complete(logged.to_numpy(dtype=np.float32))[0])

    @property
    def expected(self) -> Doubles:
        """(n, E) dollars that an answer is expected to cost before it is given."""
        return self.probes.costs.expected(self.probes.held_out.output_tokens)

    def served(self, lam: float) -> Picks:
        """(n,) columns of the experts that answer at that lambda, the guard in its place."""
        return sweep_of(self.probes.held_out, self.expected, np.array([lam]), self.guard)[0]
