"""The served router on its own table: its test picks beside constants, random and oracle."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from serve import weights
from serve.config import Settings
from serve.encoding.prompt import completion_query
from serve.encoding.transformer import TransformerEncoder
from serve.errors import SettingsError
from serve.offline.table import RoutingTable
from serve.routing import artifact
from serve.routing.pipeline import RoutingPipeline

Doubles: TypeAlias = NDArray[np.float64]


def score(table_folder: Path, settings: Settings) -> str:
    """A Markdown table of the served pipeline on the table's test split.

    Raises:
        SettingsError: the settings name no artifact.
        ArtifactError: it was trained on another table, whose test prompts may be among these.
    """
    if settings.router.artifact is None:
        raise SettingsError("router.artifact: name the artifact to evaluate")
    table = RoutingTable.load(table_folder)
    test = table.split("test")
    loaded = artifact.load(Path(settings.router.artifact))
    encoder = TransformerEncoder(weights.folder(settings.router.encoder))
    loaded.require(
        experts=test.experts,
        encoder=encoder.name,
        where=settings.router.artifact,
        table=table.fingerprint(),
    )
    pipeline = RoutingPipeline(
        encoder,
        loaded.predictor,
        [expert.as_expert() for expert in settings.experts],
        router=loaded.label,
        objective=settings.router.as_objective(),
        guard=loaded.guard,
    )
    picks = _picks(pipeline, test)
    return _report(test, picks, settings.router.lam, loaded.label)


def _picks(pipeline: RoutingPipeline, test: RoutingTable, batch: int = 32) -> list[int]:
    queries = [completion_query(text, None) for text in test.prompts["prompt"]]
    decisions = [
        decision
        for i in range(0, len(queries), batch)
        for decision in pipeline.decide(queries[i : i + batch])
    ]
    return [test.experts.index(decision.pick.expert) for decision in decisions]


def _report(test: RoutingTable, picks: list[int], lam: float, label: str) -> str:
    quality = test.quality.to_numpy(dtype=np.float64)
    cost = test.tensors["cost_usd"].to_numpy(dtype=np.float64)
    utility = quality - lam * cost
    count, experts = quality.shape
    rows = [
        (f"{name} alone", np.eye(experts)[np.full(count, i)]) for i, name in enumerate(test.experts)
    ]
    rows.append(("random", np.full((count, experts), 1 / experts)))
    rows.append((f"router {label}", np.eye(experts)[picks]))
    rows.append(("oracle", np.eye(experts)[utility.argmax(axis=1)]))
    lines = [
        "| on the test prompts | quality (BERTSim) | USD per 1000 prompts | utility | "
        + " | ".join(f"share {name}" for name in test.experts)
        + " |",
        "|---" * (4 + experts) + "|",
    ]
    lines += [_line(name, weight, quality, cost, utility) for name, weight in rows]
    return "\n".join(lines)


def _line(name: str, weight: Doubles, quality: Doubles, cost: Doubles, utility: Doubles) -> str:
    def mean(values: Doubles) -> float:
        return float((weight * values).sum(axis=1).mean())

    shares = " | ".join(f"{share:.0%}" for share in weight.mean(axis=0))
    earned = f"{mean(quality):.4f} | {mean(cost) * 1000:.5f} | {mean(utility):.4f}"
    return f"| {name} | {earned} | {shares} |"
