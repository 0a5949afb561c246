"""A BERT-like encoder by transformers: mean pooling over tokens, of three of its layers.

The last layer is the sentence vector, what the text is about. It has forgotten much of the form
(punctuation, digits, layout), which tells apart the tasks that experts are good and bad at; the
embedding layer and the middle one still know it and cost nothing more.

Knows nothing of chats or experts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from serve.encoding.identity import MAX_TOKENS, encoder_name
from serve.hardware import cpu_dtype
from serve.protocol import Floats, Lap, unheard

_MAX_CHARACTERS = 32 * MAX_TOKENS
"""Tokenizing stops being cheap; no text of ordinary language has longer tokens on average."""


class TransformerEncoder:
    """One forward pass for a batch of texts.

    Args:
        folder: a transformers model directory with model.safetensors.
        threads: CPU threads of a forward pass; None leaves torch's choice.
    """

    def __init__(self, folder: str, *, threads: int | None = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        dtype = torch.bfloat16 if self._device == "cuda" else getattr(torch, cpu_dtype())
        self._model = AutoModel.from_pretrained(folder, dtype=dtype)
        self._model.eval().to(self._device)
        self._name = encoder_name(folder)
        self._layers = layers_of(self._model)

    @property
    def name(self) -> str:
        """Identity of weights, routing text and what is read of it."""
        return self._name

    @property
    def dimension(self) -> int:
        """Width of a vector."""
        return int(self._model.config.hidden_size) * len(self._layers)

    def encode(self, texts: Sequence[str], lap: Lap = unheard) -> Floats:
        """(B,) texts -> (B, D) float32 vectors of unit length, the three layers weighing alike."""
        vectors = joined(self._pool(texts, self._layers, lap))
        read = np.asarray(vectors.cpu().numpy(), dtype=np.float32)
        lap("embed")
        return read

    def sentence_vectors(self, texts: Sequence[str]) -> Floats:
        """(B,) texts -> (B, hidden size), the last layer alone: what its cosine was trained for."""
        (last,) = self._pool(texts, self._layers[-1:])
        return np.asarray(last.cpu().numpy(), dtype=np.float32)

    def _pool(
        self, texts: Sequence[str], layers: Sequence[int], lap: Lap = unheard
    ) -> list[torch.Tensor]:
        with torch.inference_mode():
            batch = batch_of(texts, self._tokenizer)
            lap("tokenise")
            return pooled(self._model, batch.to(self._device), layers)


def layers_of(model: Any) -> tuple[int, ...]:
    """The layers that are read: the embeddings, the middle one, the last."""
    depth = int(model.config.num_hidden_layers)
    return 0, depth // 2, depth


def pooled(model: Any, batch: Any, layers: Sequence[int]) -> list[torch.Tensor]:
    """Mean over the tokens of each of those layers, (B, hidden size) each, of unit length."""
    states = model(**batch, output_hidden_states=True).hidden_states
    mask = batch["attention_mask"].unsqueeze(-1).float()
    return [
        torch.nn.functional.normalize((states[layer].float() * mask).sum(1) / mask.sum(1))
        for layer in layers  # [batch, tokens, hidden] each
    ]


def joined(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Unit vectors side by side, scaled to one of unit length."""
    return torch.cat(list(parts), dim=1) / float(np.sqrt(len(parts)))


def batch_of(texts: Sequence[str], tokenizer: Any, limit: int = MAX_TOKENS) -> Any:
    """(B,) texts -> padded input_ids and attention_mask, at most `limit` tokens each.

    A longer text keeps its first and its last tokens: instructions and few-shot examples come
    first, the question last, and what lies between tells the least.
    """
    half = _MAX_CHARACTERS // 2
    ends = [text if len(text) <= 2 * half else text[:half] + text[-half:] for text in texts]
    room = limit - 2
    rows = []
    for tokens in tokenizer(ends, add_special_tokens=False, verbose=False)["input_ids"]:
        if len(tokens) > room:
            tokens = tokens[: room // 2] + tokens[-(room - room // 2) :]
        rows.append([tokenizer.cls_token_id, *tokens, tokenizer.sep_token_id])
    return tokenizer.pad({"input_ids": rows}, return_tensors="pt")
