"""Texts -> vectors, kept on disk: reading a table is most of the work of judging a router on it.

The cache lies in ~/.cache/pointsman/vectors (or under XDG_CACHE_HOME), one file for each
combination of encoder and texts; deleting it costs only time.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from tqdm import tqdm

from serve.protocol import Encoder, Floats

BATCH = 32


class Embedder(Protocol):
    """What a fit or an evaluation asks for vectors."""

    def __call__(self, texts: Sequence[str]) -> Floats:
        """(N,) texts -> (N, D) vectors."""
        ...


def embed(texts: Sequence[str], encoder: Encoder) -> Floats:
    """(N,) texts -> (N, D) vectors, from the cache where they were computed before."""
    file = cache("vectors") / f"{_key(texts, encoder.name)}.npy"
    if file.exists():
        return np.asarray(np.load(file), dtype=np.float32)
    vectors = encode_all(texts, encoder)
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(f".{os.getpid()}.part.npy")
    np.save(unfinished, vectors)
    unfinished.replace(file)
    return vectors


def encode_all(texts: Sequence[str], encoder: Encoder) -> Floats:
    """(N,) texts -> (N, D); texts of like length share a batch, so little is padded."""
    order = np.argsort([-len(text) for text in texts], kind="stable")
    vectors = np.zeros((len(texts), encoder.dimension), dtype=np.float32)
    with tqdm(total=len(texts), desc="Reading prompts", unit="prompt", leave=False) as bar:
        for start in range(0, len(texts), BATCH):
            rows = order[start : start + BATCH]
            vectors[rows] = encoder.encode([texts[i] for i in rows])
            bar.update(len(rows))
    return vectors


def cache(name: str) -> Path:
    """A folder of the user's cache for what can be computed again."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "pointsman" / name


def _key(texts: Sequence[str], encoder: str) -> str:
    digest = hashlib.sha256(encoder.encode())
    for text in texts:
        digest.update(hashlib.sha256(text.encode()).digest())
    return digest.hexdigest()[:32]
