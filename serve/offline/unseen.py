"""UniRoute's dynamic pool (arXiv 2502.08773): experts the router never saw, known by S_val alone.

A router is fitted on the experts seen in training; each unseen one is then added from its answers
to 400 representative prompts, and only the unseen ones are routed to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from serve.errors import SettingsError
from serve.offline.fit.data import Fitted, TrainingSet
from serve.offline.fit.folds import folds
from serve.offline.fit.registry import Router
from serve.offline.trial import UnseenTrial
from serve.protocol import OpenPredictor, Prediction


def fit_seen(name: str, router: Router, settings: Mapping[str, Any], trial: UnseenTrial) -> Fitted:
    """The router on the experts seen in training.

    Args:
        name: of the router, for the error.
        router: how to fit it.
        settings: of that fit.
        trial: the split.

    Raises:
        SettingsError: the router cannot take a new expert without training again.
    """
    if not router.open:
        raise SettingsError(
            f"router {name!r} cannot take a new expert without training again; leave it out of "
            "the unseen-experts protocol"
        )
    data = _as_probes(trial) if router.on_probes else trial.seen
    sized = {"probes": len(trial.probes.texts)} if router.sized else {}
    return router.fit(data, seed=trial.trial.seed, **(sized | dict(settings)))


def for_unseen(fitted: Fitted, trial: UnseenTrial, *, full: bool) -> Fitted:
    """The same router for the unseen experts alone.

    Args:
        fitted: on the seen ones.
        trial: the split.
        full: add the unseen experts from all training prompts instead of S_val; what a retrained
            router would know, for comparison.
    """
    predictor: OpenPredictor = fitted.predictor  # type: ignore[assignment]
    probes = trial.probes
    if full:
        ready = adapted(predictor, trial.full)
        held = ready.predict(probes.vectors)
    else:
        ready = adapted(predictor, probes)
        held = _cross_fitted(predictor, probes, trial.trial.seed)
    return Fitted(ready, np.arange(len(probes.vectors)), held, fitted.chosen)


def adapted(predictor: OpenPredictor, measured: TrainingSet) -> OpenPredictor:
    """The predictor for the experts of `measured` alone, each added from its answers there."""
    for column, expert in enumerate(measured.experts):
        rows = ~np.isnan(measured.quality[:, column])
        predictor = predictor.add_expert(
            expert,
            measured.vectors[rows],
            measured.quality[rows, column],
            _known(measured.output_tokens[rows, column]),
        )
    return predictor.keep(measured.experts)


def _cross_fitted(predictor: OpenPredictor, probes: TrainingSet, seed: int) -> Prediction:
    """Predictions for S_val, each fifth from the answers to the other four."""
    quality = np.zeros(probes.quality.shape, np.float32)
    tokens = np.zeros_like(quality)
    for held in folds(len(quality), seed):
        others = np.setdiff1d(np.arange(len(quality)), held)
        said = adapted(predictor, probes.rows(others)).predict(probes.vectors[held])
        quality[held], tokens[held] = said.quality, said.output_tokens
    return Prediction(quality, tokens)


def _as_probes(trial: UnseenTrial) -> TrainingSet:
    """The seen experts on S_val alone, a third of it for choosing hyper-parameters.

    For a router whose memory is S_val itself: k for 400 prompts is not k for 7,000.
    """
    wanted = set(trial.probes.texts)
    data = trial.seen.rows(np.array([text in wanted for text in trial.seen.texts]))
    chosen = np.random.default_rng(trial.trial.seed).permutation(len(data.texts)) % 3 == 0
    return replace(data, validation=chosen)


def _known(tokens: np.ndarray) -> np.ndarray:
    """Lengths with gaps filled by their mean: a probe without a logged length still has one."""
    return np.where(np.isnan(tokens), np.nanmean(tokens), tokens)
