"""BERTSim: how alike an answer and its reference are, by a sentence encoder on this machine.

TO-Router (arXiv 2408.12320) scores answers by BERTSim without a formula that we could read; ours is
BERTScore F1 (arXiv 1904.09675) on the router's own encoder, by its authors' library. (torchmetrics
1.9 has it too, but gives the scores of a batch in a wrong order.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from bert_score import score
from transformers import AutoConfig

from serve.encoding.transformer import TransformerEncoder
from serve.protocol import Floats


def bertsim(answers: Sequence[str], references: Sequence[str], folder: str) -> Floats:
    """(N,) pairs -> (N,) F1, 0..1; an empty answer scores 0.

    Args:
        answers: what an expert said.
        references: what it should have said.
        folder: model directory of the encoder.
    """
    scores = np.zeros(len(answers), dtype=np.float32)
    said = [i for i, answer in enumerate(answers) if answer.strip()]
    if not said:
        return scores
    _, _, f1 = score(
        [answers[i] for i in said],
        [references[i] for i in said],
        model_type=folder,
        num_layers=AutoConfig.from_pretrained(folder).num_hidden_layers,
    )
    scores[said] = f1.clamp(0, 1).numpy()
    return scores


def cosine(
    answers: Sequence[str], references: Sequence[str], encoder: TransformerEncoder
) -> Floats:
    """(N,) pairs -> (N,) cosine of the sentence vectors, negative values cut to 0."""
    similarity = (_encode(answers, encoder) * _encode(references, encoder)).sum(axis=1)
    return np.asarray(np.clip(similarity, 0, 1), dtype=np.float32)


def _encode(texts: Sequence[str], encoder: TransformerEncoder, batch: int = 32) -> Floats:
    parts = [encoder.sentence_vectors(texts[i : i + batch]) for i in range(0, len(texts), batch)]
    return np.concatenate(parts)
