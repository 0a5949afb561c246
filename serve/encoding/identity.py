"""The name of an encoder: its weights, the routing text it is given and what it reads of it.

Light on purpose: a start compares it with the artifact's before any model is loaded.
"""

from __future__ import annotations

from serve.encoding.prompt import RECIPE
from serve.weights import fingerprint

MAX_TOKENS = 256
"""all-MiniLM-L6-v2 was trained on at most this many (its sentence_bert_config.json)."""

READING = f"ends-{MAX_TOKENS}/layers-0-mid-last"
"""Of a longer text both ends are read; a vector joins the first, middle and last layer."""


def encoder_name(folder: str) -> str:
    """What an artifact records of the encoder in this model directory."""
    return f"{fingerprint(folder)[:16]}/{RECIPE}/{READING}"
