"""Counts prompts' tokens by the experts' own tokenizers: prices and context lengths go by them.

A count is of the routing text and one chat template around it, not of the rendered prompt: of a
chat with many turns, tool arguments or images it is a little low. The engine has the last word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from serve.protocol import Doubles

_SAMPLE = 8_000
"""Characters, half from each end; a longer text has as many tokens a character as these."""


class ExpertTokenizers:
    """The tokenizers of the experts that run here.

    Args:
        places: expert id -> model directory or Hugging Face id.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self._tokenizers = {
            expert: AutoTokenizer.from_pretrained(place) for expert, place in places.items()
        }
        self._around = {name: _template_tokens(t) for name, t in self._tokenizers.items()}

    def count(self, texts: Sequence[str]) -> dict[str, Doubles]:
        """See protocol.TokenCounter."""
        ends = [_ends(text) for text in texts]
        scale = np.array(
            [len(text) / max(1, len(end)) for text, end in zip(texts, ends, strict=True)]
        )
        return {
            expert: np.array([len(ids) for ids in _ids(tokenizer, ends)]) * scale
            + self._around[expert]
            for expert, tokenizer in self._tokenizers.items()
        }


def _ends(text: str) -> str:
    half = _SAMPLE // 2
    return text if len(text) <= _SAMPLE else text[:half] + text[-half:]


def _ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False, verbose=False)[
        "input_ids"
    ]
    return ids


def _template_tokens(tokenizer: PreTrainedTokenizerBase) -> int:
    if tokenizer.chat_template is None:
        return 1
    empty = [{"role": "user", "content": ""}]
    text = tokenizer.apply_chat_template(empty, add_generation_prompt=True, tokenize=False)
    return len(_ids(tokenizer, [str(text)])[0])
