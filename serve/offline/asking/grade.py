"""How good an answer is beside its reference: the graders, by name.

bertsim   BERTScore F1 on the router's encoder
cosine    of the sentence vectors
exact     the same words, without case, punctuation, articles and white space
choice    the same letter, where the reference is one of A to J
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence

import numpy as np

from serve.protocol import Floats

_LETTER = re.compile(r"[A-J]")
# From the surest sign of a letter being the answer to the weakest.
_CHOSEN = (
    re.compile(r"(?i:answer|option|choice)(?:\s+(?i:is|would be))?\s*:?\s*\**\(?([A-J])\b(?!')"),
    re.compile(r"^\W*([A-J])(?:\W*$|[).:,]|\s*\n)"),
    re.compile(r"\(([A-J])\)"),
    re.compile(r"\b([A-J])[).:]"),
    re.compile(r"\b([B-HJ])\b(?!')"),
)


def grade(name: str, answers: Sequence[str], references: Sequence[str], folder: str) -> Floats:
    """(N,) pairs -> (N,) grades, 0..1; NaN where the grader does not apply.

    Args:
        name: of GRADERS.
        answers: what an expert said.
        references: what it should have said.
        folder: model directory of the encoder; read by bertsim and cosine alone.
    """
    return GRADERS[name](answers, references, folder)


def exact(answers: Sequence[str], references: Sequence[str], folder: str = "") -> Floats:
    """(N,) pairs -> (N,) 1 where both say the same, else 0; case and punctuation aside."""
    same = [_words(a) == _words(r) for a, r in zip(answers, references, strict=True)]
    return np.array(same, dtype=np.float32)


def choice(answers: Sequence[str], references: Sequence[str], folder: str = "") -> Floats:
    """(N,) pairs -> (N,) 1 where the answer picks the reference's letter, else 0.

    NaN where the reference is no single letter A to J.
    """
    grades = [
        float(chosen_letter(answer) == wanted) if _LETTER.fullmatch(wanted) else np.nan
        for answer, wanted in zip(answers, map(_bare_letter, references), strict=True)
    ]
    return np.array(grades, dtype=np.float32)


def chosen_letter(answer: str) -> str | None:
    """The choice that an answer names, A to J; None where it names none."""
    for pattern in _CHOSEN:
        if found := pattern.findall(answer):
            return str(found[-1])
    return None


def _bare_letter(reference: str) -> str:
    return reference.strip().strip("().:")


def _words(text: str) -> list[str]:
    plain = text.lower().translate(str.maketrans("", "", string.punctuation))
    words = plain.split()
    # The letter A, and an answer of signs alone, are not nothing.
    return [w for w in words if w not in ("a", "an", "the")] or words or [text.strip()]


# Imported where they are needed: `choice` and `exact` need no torch, which takes seconds to load.


def _bertsim(answers: Sequence[str], references: Sequence[str], folder: str) -> Floats:
    from serve.offline.asking.bertsim import bertsim

    return bertsim(answers, references, folder)


def _cosine(answers: Sequence[str], references: Sequence[str], folder: str) -> Floats:
    from serve.encoding.transformer import TransformerEncoder
    from serve.offline.asking.bertsim import cosine

    return cosine(answers, references, TransformerEncoder(folder))


MEANING = {
    "bertsim": "BERTScore F1 against the reference",
    "cosine": "cosine of the sentence vectors of answer and reference",
    "exact": "1 where answer and reference say the same, case and punctuation aside",
    "choice": "1 where the answer picks the reference's letter",
}
GRADERS: dict[str, Callable[[Sequence[str], Sequence[str], str], Floats]] = {
    "bertsim": _bertsim,
    "cosine": _cosine,
    "exact": exact,
    "choice": choice,
}
