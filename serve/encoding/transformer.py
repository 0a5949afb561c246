"""A BERT-like sentence encoder by transformers: mean pooling over tokens, vectors of unit length.

Knows nothing of chats or experts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from serve.encoding.identity import MAX_TOKENS, encoder_name
from serve.hardware import cpu_dtype
from serve.protocol import Floats


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

    @property
    def name(self) -> str:
        """Identity of weights, routing text and length limit."""
        return self._name

    @property
    def dimension(self) -> int:
        """Width of a vector."""
        return int(self._model.config.hidden_size)

    def encode(self, texts: Sequence[str]) -> Floats:
        """(B,) texts -> (B, D) float32 vectors of unit length."""
        batch = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        ).to(self._device)
        with torch.inference_mode():
            hidden = self._model(**batch).last_hidden_state.float()  # [batch, tokens, dim]
        mask = batch["attention_mask"].unsqueeze(-1).float()
        mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        vectors = torch.nn.functional.normalize(mean, dim=1)
        return np.asarray(vectors.cpu().numpy(), dtype=np.float32)
