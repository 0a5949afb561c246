"""Fits TO-Router's MLP (arXiv 2408.12320): cross-entropy against soft labels.

Widths, rate and stopping are not known of the paper; ours are below.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from serve.offline.fit.data import Fitted, TrainingSet, fitted_on_train
from serve.offline.fit.select import validated_area
from serve.protocol import Floats
from serve.routing.mlp import MlpPredictor
from serve.routing.soft_labels import SCORE_SCALE, TEMPERATURE, soft_labels

WIDTHS = (64, 256)
RATE, DECAY, BATCH, EPOCHS, PATIENCE = 1e-3, 1e-2, 256, 60, 5


def fit_mlp(
    data: TrainingSet,
    *,
    seed: int,
    temperature: float = TEMPERATURE,
    score_scale: float = SCORE_SCALE,
) -> Fitted:
    """The width of best Area on the validation prompts."""
    held = data.held
    tried = {}
    for width in WIDTHS:
        network = _trained(data, width, seed, temperature, score_scale)
        tried[width] = predictor_of(network, data, temperature, score_scale)
    areas = {w: validated_area(p.predict(held.vectors), held) for w, p in tried.items()}
    best = max(areas, key=lambda width: areas[width])
    return fitted_on_train(tried[best], data, {"width": best})


def predictor_of(
    network: nn.Sequential, data: TrainingSet, temperature: float, score_scale: float
) -> MlpPredictor:
    """The numpy form of (linear, relu, linear), or of one linear layer."""
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    head = layers[-1]
    width = data.vectors.shape[1] if len(layers) == 2 else head.in_features
    none = np.zeros((width, 0), np.float32), np.zeros(0, np.float32)
    hidden = _arrays(layers[0]) if len(layers) == 2 else none
    train = data.train
    return MlpPredictor(
        data.experts,
        *hidden,
        *_arrays(head),
        np.nanmean(train.output_tokens, axis=0),
        float(np.nanmean(train.quality)),
        temperature,
        score_scale,
    )


def _arrays(layer: nn.Linear) -> tuple[Floats, Floats]:
    return layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy()


def _trained(
    data: TrainingSet, width: int, seed: int, temperature: float, score_scale: float
) -> nn.Sequential:
    """Minibatch AdamW; the weights of least validation cross-entropy are kept."""
    train, held = data.train, data.held
    x, hx = torch.tensor(train.vectors), torch.tensor(held.vectors)
    y, hy = (
        torch.tensor(soft_labels(q, temperature=temperature, score_scale=score_scale))
        for q in (train.quality, held.quality)
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Linear(x.shape[1], width), nn.ReLU(), nn.Linear(width, y.shape[1])
        )
        optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
        best, waited, kept = np.inf, 0, network.state_dict()
        for _ in range(EPOCHS):
            for rows in torch.split(torch.randperm(len(x)), BATCH):
                optimiser.zero_grad()
                nn.functional.cross_entropy(network(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            with torch.no_grad():
                loss = float(nn.functional.cross_entropy(network(hx), hy))
            waited += 1
            if loss < best - 1e-5:
                best, waited = loss, 0
                kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
            if waited >= PATIENCE:
                break
    network.load_state_dict(kept)
    return network
