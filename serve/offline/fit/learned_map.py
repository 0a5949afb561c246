"""Fits UniRoute's LearnedMap variant (arXiv 2502.08773): Phi(x) = softmax(theta . e(x)).

The clusters and their Psi are those of K-Means, fixed; theta is trained by log loss on whether the
training experts were right, gamma clipped away from 0 and 1. Our defaults: theta starts at the
soft-min of the squared distances to the centroids, Adam, and training stops where the log loss on
the validation prompts does not fall any more.
"""

from __future__ import annotations

import numpy as np
import torch

from serve.offline.fit.data import Fitted, TrainingSet, complete, fitted_on_train
from serve.offline.fit.kmeans import centroids
from serve.offline.fit.select import represented, validated_area
from serve.protocol import Floats
from serve.routing.clusters import LearnedMapPredictor
from serve.routing.psi import shrunk_means

KS = (10, 25, 50, 100, 200)
TEMPERATURE = 0.05
"""Of the soft-min: squared distance of unit vectors at which a cluster counts e times less."""

RATE, STEPS, PATIENCE = 3e-2, 200, 15


def fit_learned_map(
    data: TrainingSet, *, seed: int, strength: float | None = None, probes: int = 0
) -> Fitted:
    """The K of best Area on the validation prompts; arguments as of fit_kmeans."""
    held = data.held
    known = represented(data.train, probes, seed)
    tried = {
        k: _trained(data, centroids(data.train.vectors, k, seed), strength)
        for k in KS
        if k <= len(data.train.vectors)
    }
    areas = {}
    for k, map_ in tried.items():
        described = _with_psi(known, map_.theta, map_.bias, strength)
        areas[k] = validated_area(described.predict(held.vectors), held)
    best = max(areas, key=lambda k: areas[k])
    return fitted_on_train(tried[best], data, {"K": best})


def soft_kmeans(
    train: TrainingSet, centres: Floats, strength: float | None = None
) -> LearnedMapPredictor:
    """The map before training: each prompt shared among the clusters whose centroids are near."""
    theta = 2 * centres.T / TEMPERATURE
    bias = -(centres**2).sum(axis=1) / TEMPERATURE
    return _with_psi(train, theta.astype(np.float32), bias.astype(np.float32), strength)


def _with_psi(
    train: TrainingSet, theta: Floats, bias: Floats, strength: float | None
) -> LearnedMapPredictor:
    blank = np.zeros((len(bias), 0), dtype=np.float32)
    phi = LearnedMapPredictor((), blank, blank, theta, bias).phi(train.vectors)
    return LearnedMapPredictor(
        train.experts,
        shrunk_means(phi, train.quality, strength),
        shrunk_means(phi, train.output_tokens, strength),
        theta,
        bias,
    )


def _trained(data: TrainingSet, centres: Floats, strength: float | None) -> LearnedMapPredictor:
    """Theta by full-batch Adam; the weights of least validation log loss are kept."""
    train, held = data.train, data.held
    start = soft_kmeans(train, centres, strength)
    # theta and centres differ in scale by 1 / TEMPERATURE: train in units of the centres.
    theta = torch.tensor(start.theta * TEMPERATURE, requires_grad=True)
    bias = torch.tensor(start.bias * TEMPERATURE, requires_grad=True)
    psi = torch.tensor(start.psi)
    x, y = torch.tensor(train.vectors), torch.tensor(_targets(train.quality))
    hx, hy = torch.tensor(held.vectors), torch.tensor(_targets(held.quality))
    optimiser = torch.optim.Adam([theta, bias], lr=RATE * TEMPERATURE)
    best, waited, kept = np.inf, 0, (start.theta, start.bias)
    for _ in range(STEPS):
        optimiser.zero_grad()
        _loss(x, y, theta, bias, psi).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            loss = float(_loss(hx, hy, theta, bias, psi))
        waited += 1
        if loss < best - 1e-6:
            best, waited = loss, 0
            kept = (_plain(theta), _plain(bias))
        if waited >= PATIENCE:
            break
    return _with_psi(train, *kept, strength)


def _targets(quality: Floats) -> Floats:
    """(N, E) with gaps filled; what fills one may lie outside 0..1, where there is no log loss."""
    return np.clip(complete(quality)[0], 0, 1).astype(np.float32)


def _plain(tensor: torch.Tensor) -> Floats:
    return np.asarray(tensor.detach().numpy() / TEMPERATURE, dtype=np.float32)


def _loss(
    x: torch.Tensor, y: torch.Tensor, theta: torch.Tensor, bias: torch.Tensor, psi: torch.Tensor
) -> torch.Tensor:
    phi = torch.softmax((x @ theta + bias) / TEMPERATURE, dim=1)
    right = (phi @ psi).clamp(0.01, 0.99)
    return torch.nn.functional.binary_cross_entropy(right, y)
