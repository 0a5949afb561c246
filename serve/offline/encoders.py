"""Other ways to read a prompt, for `pointsman evaluate` to compare with the one that serves.

None of them trains anything; a router is fitted on the vectors as on any other's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

from serve import weights
from serve.config import MINILM
from serve.encoding.identity import MAX_TOKENS
from serve.encoding.transformer import TransformerEncoder
from serve.errors import SettingsError
from serve.offline.embed import embed
from serve.protocol import Encoder, Floats, Lap, unheard

DEFAULT = "default"
CHARACTERS = 4 * MAX_TOKENS
"""About as many as the encoder has tokens for."""


@dataclass(frozen=True)
class Reading:
    """An encoder, and which of the three layers of its vectors to keep; None: all.

    A layer is cut out of vectors that were computed whole, so comparing layers costs nothing.
    """

    encoder: Encoder
    layer: int | None = None

    def vectors(self, texts: Sequence[str]) -> Floats:
        """(N,) texts -> (N, D) of unit length, cached as embed() does."""
        whole = embed(texts, self.encoder)
        if self.layer is None:
            return whole
        part = np.split(whole, 3, axis=1)[self.layer]
        return np.asarray(part / np.linalg.norm(part, axis=1, keepdims=True))


class HeadEncoder:
    """The first 1,024 characters of a text, as an encoder that cuts it off reads it."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.name = f"{encoder.name}/head-{CHARACTERS}"
        self.dimension = encoder.dimension

    def encode(self, texts: Sequence[str], lap: Lap = unheard) -> Floats:
        """(B,) texts -> (B, D)."""
        return self._encoder.encode([text[:CHARACTERS] for text in texts], lap)


class WordsEncoder:
    """No model: words and pairs of words, counted and hashed into as many dimensions as ours."""

    name = "hashed-words/1"
    dimension = 1152

    def __init__(self) -> None:
        self._hash = HashingVectorizer(
            n_features=self.dimension, ngram_range=(1, 2), token_pattern=r"\w+|[^\w\s]"
        )

    def encode(self, texts: Sequence[str], lap: Lap = unheard) -> Floats:
        """(B,) texts -> (B, 1152) of unit length; zero where a text has no words."""
        return np.asarray(self._hash.transform(texts).toarray(), dtype=np.float32)


READINGS: dict[str, Callable[[], Reading]] = {
    DEFAULT: lambda: Reading(_minilm()),
    "first-layer": lambda: Reading(_minilm(), 0),
    "middle-layer": lambda: Reading(_minilm(), 1),
    "last-layer": lambda: Reading(_minilm(), 2),
    "head": lambda: Reading(HeadEncoder(_minilm())),
    "words": lambda: Reading(WordsEncoder()),
}
"""What `--encoder` may name; a model directory may stand in its place."""


def check_encoder(name: str) -> None:
    """Raise SettingsError where `reading` would, without loading a model."""
    if name not in READINGS and not Path(name, "config.json").exists():
        raise SettingsError(
            f"--encoder {name!r} is neither a model directory nor one of {', '.join(READINGS)}"
        )


def reading(name: str) -> Reading:
    """The reading of that name, or of the BERT-like model in that directory."""
    if name in READINGS:
        return READINGS[name]()
    return Reading(TransformerEncoder(name))


def _minilm() -> Encoder:
    return TransformerEncoder(weights.folder(MINILM))
