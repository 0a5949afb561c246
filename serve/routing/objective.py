"""Objectives turn predictions and prices into a ranking of the experts.

Knows nothing of text, vectors or the request path.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serve.protocol import Candidate, Expert, Floats


def linear_cost(
    quality: Floats,
    output_tokens: Floats,
    input_tokens: int,
    experts: Sequence[Expert],
    *,
    lam: float,
) -> tuple[Candidate, ...]:
    """Rank by quality - lambda * cost: UniRoute's rule (arXiv 2502.08773), gamma = 1 - quality.

    Ties go to the cheaper expert, then to the one named first in the settings.

    Args:
        quality: (E,) expected quality, 0..1.
        output_tokens: (E,) expected answer length.
        input_tokens: length of the prompt.
        experts: E experts in column order.
        lam: quality that one dollar is worth, so 1 / USD.
    """
    cost = np.array(
        [
            expert.cost_usd(input_tokens, float(tokens))
            for expert, tokens in zip(experts, output_tokens, strict=True)
        ]
    )
    utility = quality.astype(np.float64) - lam * cost
    order = np.lexsort((np.arange(len(experts)), cost, -utility))
    return tuple(
        Candidate(experts[i].id, float(quality[i]), float(cost[i]), float(utility[i]))
        for i in order
    )
