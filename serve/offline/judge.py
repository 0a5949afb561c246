"""A fitted router on test prompts: one row of results.json, and its deferral curve.

The honest comparison: the best single expert is the one that is best on the prompts the router
learned from, lambda is chosen on prompts it had not seen, and both are then measured on test
prompts. What needs hindsight is called that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from serve.offline.fit.data import Fitted, TrainingSet, complete
from serve.offline.guard import operating_lambda, sweep_of
from serve.offline.metrics import (
    BUDGETS,
    Curve,
    aiq,
    apgr,
    area,
    area50,
    cpt,
    curve_of,
    lambdas,
    qnc,
    reached,
)
from serve.offline.reliability import Reliability, reliability
from serve.offline.results import Row
from serve.offline.trial import Trial
from serve.protocol import Doubles, Prediction
from serve.routing.guard import Guard


@dataclass(frozen=True)
class Verdict:
    """What a router did on one split.

    Attributes:
        row: its figures.
        reached: (200,) best quality within budgets from the cheapest expert's cost to the
            priciest one's.
        reliability: of its predictions.
    """

    row: Row
    reached: Doubles
    reliability: Reliability


def judge(
    router: str,
    protocol: str,
    trial: Trial,
    fitted: Fitted,
    prediction: Prediction,
    guard: Guard | None,
) -> Verdict:
    """Figures of a router whose `prediction` for the test prompts is given."""
    quality = trial.test.quality.astype(np.float64)
    cost = trial.test_costs.measured
    best = best_single(trial.data)
    lam = lambdas(trial.costs.measured)
    picks = sweep_of(prediction, trial.test_costs.expected(prediction.output_tokens), lam, guard)
    at = _operating_point(trial, fitted, guard, lam, best)
    curve = curve_of(picks, lam, quality, cost)
    # Summed as the curve sums its picks: a constant's ratio to itself is 1 to the last bit.
    single, single_cost = quality[:, best].mean(), cost[:, best].mean()
    if guard is not None:
        # What the guard steps aside to is a point of what can be served, too.
        curve = _with_constant(curve, single, single_cost)
    ran_quality, ran_cost = curve.quality[at], curve.cost[at]
    pair = _pair(trial, prediction) if quality.shape[1] == 2 else None
    mae, mae_mean = _token_errors(trial, prediction)
    reliable = reliability(prediction.quality, quality)
    row = Row(
        table=trial.table,
        protocol=protocol,
        router=router,
        seed=trial.seed,
        qnc=qnc(curve, quality, cost),
        area=area(curve, cost),
        area50=area50(curve, cost),
        gain=float(ran_quality - single),
        cost_ratio=float(ran_cost / single_cost) if single_cost > 0 else 1.0,
        hindsight_gain=float(curve.quality.max() - quality.mean(axis=0).max()),
        best_single=float(single),
        oracle=float(quality.max(axis=1).mean()),
        random=float(quality.mean()),
        zero_area=_zero_area(trial, lam),
        aiq=aiq(curve, cost),
        accuracy=float(ran_quality),
        cpt=cpt(*pair) if pair else None,
        apgr=apgr(*pair) if pair else None,
        lam=float(lam[at]) if at < len(lam) else None,
        guard_share=float(np.mean([not guard.trusts(v) for v in lam])) if guard else 0.0,
        tokens_mae=mae,
        tokens_mae_mean=mae_mean,
        ece=reliable.error,
    )
    means = cost.mean(axis=0)
    budgets = np.linspace(means.min(), means.max(), BUDGETS)
    return Verdict(row, reached(curve, np.maximum(budgets, curve.cost.min())), reliable)


def best_single(data: TrainingSet) -> int:
    """Column of the expert with the highest mean quality; of equals the cheapest."""
    means = np.nanmean(data.quality.astype(np.float64), axis=0)
    return int(np.lexsort((data.cost.mean(axis=0), -means))[0])


def _operating_point(
    trial: Trial, fitted: Fitted, guard: Guard | None, lam: Doubles, best: int
) -> int:
    """Position in `lam`; one past its end, a router with a guard steps aside altogether."""
    held = trial.data.rows(fitted.held_rows)
    costs = trial.costs.rows(fitted.held_rows)
    sweep = sweep_of(fitted.held_out, costs.expected(fitted.held_out.output_tokens), lam, guard)
    quality = complete(held.quality)[0]
    confidence = guard.confidence if guard else 0.5
    at = operating_lambda(sweep, lam, quality, costs.measured, best, confidence)
    if at is None:
        return 0 if guard is None else len(lam)
    return at


def _zero_area(trial: Trial, lam: Doubles) -> float:
    """Of one expert for all prompts at each lambda, by means of what was measured before test."""
    quality = np.nanmean(trial.data.quality.astype(np.float64), axis=0)
    means = trial.costs.measured.mean(axis=0)
    cost = trial.test_costs.measured
    sweep = [np.full(len(cost), (quality - value * means).argmax()) for value in lam]
    return area(curve_of(sweep, lam, trial.test.quality.astype(np.float64), cost), cost)


def _with_constant(curve: Curve, quality: float, cost: float) -> Curve:
    return Curve(
        np.append(curve.lam, np.nan), np.append(curve.cost, cost), np.append(curve.quality, quality)
    )


def _pair(trial: Trial, prediction: Prediction) -> tuple[Doubles, Doubles]:
    """For a pool of two: how much stronger the strong expert is predicted to be, and the truth."""
    weak, strong = np.argsort(np.nanmean(trial.data.quality, axis=0))
    score = prediction.quality[:, strong] - prediction.quality[:, weak]
    return score.astype(np.float64), trial.test.quality[:, [weak, strong]].astype(np.float64)


def _token_errors(trial: Trial, prediction: Prediction) -> tuple[float | None, float | None]:
    """Mean absolute error of predicted answer lengths, and of each expert's mean length."""
    actual = trial.test.output_tokens
    known = ~np.isnan(actual)
    means = np.nanmean(trial.data.output_tokens, axis=0)
    if np.ptp(trial.data.output_tokens[~np.isnan(trial.data.output_tokens)]) == 0:
        return None, None
    error = np.abs(prediction.output_tokens - actual)[known].mean()
    return float(error), float(np.abs(means - actual)[known].mean())
