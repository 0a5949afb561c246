"""Fits TO-Router's BERT router (arXiv 2408.12320): an encoder fine-tuned end to end.

Its head is E-way, on soft labels, AdamW at 2e-5. The router brings its own encoder: the result is
that encoder, saved as a model directory, and a predictor that reads its vectors like any other.

Training can be killed at any moment: it goes on from its last checkpoint when it is called again
with the same prompts, labels, seed and settings.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm
from transformers import AutoConfig, AutoModel, AutoTokenizer, get_linear_schedule_with_warmup

from serve import weights
from serve.config import MINILM
from serve.encoding.transformer import TransformerEncoder, batch_of, joined, layers_of, pooled
from serve.offline.embed import cache, encode_all
from serve.offline.fit.data import Fitted, TrainingSet
from serve.offline.fit.mlp import predictor_of
from serve.routing.soft_labels import SCORE_SCALE, TEMPERATURE, soft_labels

EPOCHS, BATCH, RATE, HEAD_RATE, WARM_UP = 3, 16, 2e-5, 1e-2, 0.1
CHECKPOINT_S = 60.0
TOKENS = 128
"""Of a prompt in training, half of what is read in serving: half the time of a step."""

RECIPE = 3
"""Part of a checkpoint's key: rises when training changes in what no setting names."""


@dataclass
class _Run:
    """What a checkpoint holds."""

    model: Any
    head: nn.Linear
    optimiser: torch.optim.Optimizer
    schedule: Any
    step: int = 0

    def save(self, file: Path) -> None:
        """Atomically: a kill leaves the checkpoint before."""
        state = {
            "model": self.model.state_dict(),
            "head": self.head.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "step": self.step,
            "random": torch.get_rng_state(),
        }
        unfinished = file.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(file)

    def load(self, file: Path) -> None:
        """Go on where the checkpoint was written."""
        state = torch.load(file, weights_only=True)
        for name in ("model", "head", "optimiser", "schedule"):
            vars(self)[name].load_state_dict(state[name])
        self.step = state["step"]
        torch.set_rng_state(state["random"])


def fit_bert(
    data: TrainingSet,
    *,
    seed: int,
    folder: str | None = None,
    epochs: int = EPOCHS,
    temperature: float = TEMPERATURE,
    score_scale: float = SCORE_SCALE,
) -> Fitted:
    """Fine-tune on the training prompts.

    Args:
        data: texts and quality are read, vectors are not.
        seed: of the head and the dropout.
        folder: a transformers model directory to start from; None: the packaged MiniLM.
        epochs: passes over the training prompts.
        temperature: of the soft labels.
        score_scale: of the soft labels.
    """
    start = folder or weights.folder(MINILM)
    labels = soft_labels(data.train.quality, temperature=temperature, score_scale=score_scale)
    home = cache("bert") / _key(data.train, labels, start, seed, epochs)
    home.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = _trained(data.train.texts, labels, start, home, epochs)
    encoder = home / "encoder"
    predictor = predictor_of(nn.Sequential(head), data, temperature, score_scale)
    rows = np.flatnonzero(data.validation)
    held = predictor.predict(encode_all(data.held.texts, TransformerEncoder(str(encoder))))
    return Fitted(predictor, rows, held, {"epochs": epochs}, encoder)


def _trained(
    texts: tuple[str, ...], labels: np.ndarray, start: str, home: Path, epochs: int
) -> nn.Linear:
    """Train, or go on, or find the finished result; the encoder lies in home/encoder."""
    source = home / "encoder" if (home / "encoder").exists() else Path(start)
    tokenizer = AutoTokenizer.from_pretrained(start)
    config = AutoConfig.from_pretrained(start)
    # Dropping attention weights keeps torch from its fast attention: half of a forward pass.
    config.attention_probs_dropout_prob = 0.0
    model = AutoModel.from_pretrained(source, config=config, dtype=torch.float32)
    layers = layers_of(model)
    head = nn.Linear(int(model.config.hidden_size) * len(layers), labels.shape[1])
    if (home / "encoder").exists():
        head.load_state_dict(torch.load(home / "head.pt", weights_only=True))
        return head
    steps = epochs * -(-len(texts) // BATCH)
    optimiser = torch.optim.AdamW(
        [
            {"params": model.parameters(), "lr": RATE},
            {"params": head.parameters(), "lr": HEAD_RATE},
        ]
    )
    schedule = get_linear_schedule_with_warmup(optimiser, int(WARM_UP * steps), steps)
    run = _Run(model, head, optimiser, schedule)
    checkpoint = home / "checkpoint.pt"
    if checkpoint.exists():
        run.load(checkpoint)
    target = torch.tensor(labels)
    model.train()
    saved = time.monotonic()
    batches = list(_batches([len(text) for text in texts], epochs))
    with tqdm(total=steps, initial=run.step, desc="Fine-tuning", unit="step") as bar:
        for rows in batches[run.step :]:
            batch = batch_of([texts[i] for i in rows], tokenizer, TOKENS)
            logits = head(joined(pooled(model, batch, layers)))
            nn.functional.cross_entropy(logits, target[rows]).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
            run.step += 1
            bar.update()
            if time.monotonic() - saved > CHECKPOINT_S:
                run.save(checkpoint)
                saved = time.monotonic()
    return _keep(run, tokenizer, home)


def _keep(run: _Run, tokenizer: Any, home: Path) -> nn.Linear:
    torch.save(run.head.state_dict(), home / "head.pt")
    unfinished = home / "encoder.part"
    run.model.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    unfinished.replace(home / "encoder")
    (home / "checkpoint.pt").unlink(missing_ok=True)
    return run.head


def _batches(lengths: list[int], epochs: int) -> Iterator[list[int]]:
    """Texts of like length share a batch, so little is padded; batches come in random order.

    The order has a generator of its own: it must be the same after a kill.
    """
    rng = np.random.default_rng(len(lengths))
    for _ in range(epochs):
        jitter = np.array(lengths) * rng.uniform(0.9, 1.1, len(lengths))
        order = np.argsort(jitter, kind="stable")
        parts = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]
        for number in rng.permutation(len(parts)):
            yield parts[number].tolist()


def _key(data: TrainingSet, labels: np.ndarray, start: str, seed: int, epochs: int) -> str:
    settings = [RECIPE, weights.fingerprint(start), seed, epochs, BATCH, RATE, HEAD_RATE]
    digest = hashlib.sha256(json.dumps(settings).encode())
    digest.update("\0".join(data.texts).encode())
    digest.update(labels.tobytes())
    return digest.hexdigest()[:32]
