"""Reads the guard and the operating lambda from predictions for prompts the router had not seen."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from serve.offline.cost import Costs
from serve.offline.fit.data import Fitted, TrainingSet, complete
from serve.offline.metrics import Picks, earned, lambdas, picks_at
from serve.protocol import Doubles, Prediction
from serve.routing.guard import Guard

CONFIDENCE = 0.95
"""One-sided. Higher steps aside more often: it trades gain for certainty; our default."""


def calibrate(
    fitted: Fitted, data: TrainingSet, costs: Costs, *, confidence: float = CONFIDENCE
) -> Guard:
    """The guard of a fitted router.

    Args:
        fitted: the router with its held-out predictions.
        data: what it was fitted on.
        costs: of the same prompts.
        confidence: of the lower bound, one-sided.
    """
    held = data.rows(fitted.held_rows)
    cost = costs.rows(fitted.held_rows)
    quality = complete(held.quality)[0]
    predicted = fitted.held_out.quality.astype(np.float64)
    expected = cost.expected(fitted.held_out.output_tokens)
    means, mean_cost = np.nanmean(data.quality, axis=0), costs.measured.mean(axis=0)
    lam = lambdas(costs.measured)
    lower, spent = np.zeros(len(lam)), np.zeros(len(lam))
    for i, value in enumerate(lam):
        picks = picks_at(predicted, expected, value)
        constant = np.full(len(picks), (means - value * mean_cost).argmax())
        utility = quality - value * cost.measured
        lower[i] = lower_bound(earned(picks, utility) - earned(constant, utility), confidence)
        spent[i] = earned(picks, cost.measured).mean()
    return Guard(
        lam=lam.astype(np.float32),
        cost=spent.astype(np.float32),
        lower=lower.astype(np.float32),
        confidence=confidence,
        prompts=len(quality),
        quality=means.astype(np.float32),
        output_tokens=np.nanmean(data.output_tokens, axis=0).astype(np.float32),
        mean_cost=mean_cost.astype(np.float32),
    )


def lower_bound(values: Doubles, confidence: float) -> float:
    """One-sided bound of the mean of independent values, by the normal approximation."""
    error = values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - NormalDist().inv_cdf(confidence) * error)


def operating_lambda(
    sweep: list[Picks], lam: Doubles, quality: Doubles, cost: Doubles, best: int, confidence: float
) -> int | None:
    """Which lambda to run at: the surest gain over the best single expert at no higher cost.

    Args:
        sweep: L lists of picks on held-out prompts.
        lam: (L,).
        quality: (H, E) of those prompts.
        cost: (H, E) of those prompts.
        best: column of the best single expert.
        confidence: of the lower bound that is compared; 0.5 compares means.

    Returns:
        Position in `lam`; None where no lambda promises a gain.
    """
    bounds = [
        lower_bound(earned(picks, quality) - quality[:, best], confidence)
        if earned(picks, cost).mean() <= cost[:, best].mean()
        else -np.inf
        for picks in sweep
    ]
    top = int(np.argmax(bounds))
    return top if bounds[top] > 0 else None


def sweep_of(
    prediction: Prediction, expected: Doubles, lam: Doubles, guard: Guard | None = None
) -> list[Picks]:
    """Predictions for B prompts -> picks at each lambda, the constant's where the guard holds.

    Args:
        prediction: of quality (B, E).
        expected: (B, E) dollars that the answers are expected to cost.
        lam: (L,).
        guard: None trusts the router everywhere.
    """
    predicted = prediction.quality.astype(np.float64)
    picks = []
    for value in lam:
        chosen = picks_at(predicted, expected, float(value))
        if guard is not None:
            held = guard.holds(prediction, float(value))
            chosen = np.where(held, guard.constant(float(value)), chosen)
        picks.append(chosen)
    return picks
