"""Routing table -> router artifact: embed the train split, fit, save."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from serve import weights
from serve.config import Settings
from serve.encoding.transformer import TransformerEncoder
from serve.offline.fit.knn import TrainingSet, fit_knn
from serve.offline.table import RoutingTable
from serve.protocol import Floats
from serve.routing import artifact
from serve.routing.artifact import Artifact

SEED = 0
BATCH = 32


def train(table_folder: Path, settings: Settings, out: Path) -> Artifact:
    """Fit the kNN router on the table's train split and write the artifact to `out`."""
    table = RoutingTable.load(table_folder)
    encoder = TransformerEncoder(weights.folder(settings.router.encoder))
    learned = table.split("train")
    data = training_set(learned, embed(learned, encoder), settings.router.lam)
    fit = fit_knn(data, seed=SEED)
    saved = artifact.save(
        out,
        fit.predictor,
        name=fit.predictor.kind,
        encoder=encoder.name,
        dimension=encoder.dimension,
        table=table.fingerprint(),
        trained={
            "prompts": len(learned.prompts),
            "lambda": settings.router.lam,
            "seed": SEED,
            "held_out_utility": round(fit.earned, 5),
            "held_out_utility_best_constant": round(fit.best_constant, 5),
        },
    )
    print(
        f"{saved.label}: {fit.predictor.params()}; utility on held-out folds {fit.earned:.4f}, "
        f"best single expert {fit.best_constant:.4f}"
    )
    return saved


def embed(table: RoutingTable, encoder: TransformerEncoder) -> Floats:
    """(N, D) vectors of a table's prompts."""
    texts = table.prompts["prompt"].tolist()
    return np.concatenate(
        [encoder.encode(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
    )


def training_set(table: RoutingTable, vectors: Floats, lam: float) -> TrainingSet:
    """A table's numbers as a fit reads them."""
    quality = table.quality.to_numpy(dtype=np.float32)
    cost = table.tensors["cost_usd"].to_numpy(dtype=np.float64)
    return TrainingSet(
        experts=table.experts,
        vectors=vectors,
        quality=quality,
        output_tokens=table.tensors["out_tokens"].to_numpy(dtype=np.float32),
        utility=(quality - lam * cost).astype(np.float32),
    )
