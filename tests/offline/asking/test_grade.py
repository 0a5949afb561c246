from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve import weights
from serve.config import MINILM
from serve.offline.asking.grade import GRADERS, MEANING, chosen_letter, grade
from serve.verbs.options import QUALITIES


def minilm():
    return weights.folder(MINILM)


@pytest.mark.parametrize(
    ("answer", "reference", "same"),
    [
        ("The Pacific Ocean.", "pacific ocean", 1),
        ("  Paris", "Paris", 1),
        ("Paris, France", "Paris", 0),
        ("A", "A", 1),
        ("", "A", 0),
        ("+", "-", 0),
        ("", "", 1),
        ("42", "42.", 1),
    ],
)
def test_exact_looks_past_case_punctuation_and_articles(answer, reference, same):
    assert grade("exact", [answer], [reference], "") == [same]


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("(C)", "C"),
        ("D. because of the wind", "D"),
        ("The answer is (B).", "B"),
        ("The correct answer is: **C**", "C"),
        ("Option E", "E"),
        ("Both A) and B) look right, but the answer is A", "A"),
        ("I think it is C", "C"),
        ("A cat sat there", None),
        ("I'd say so", None),
        ("", None),
        ("because", None),
    ],
)
def test_the_letter_an_answer_names(answer, letter):
    assert chosen_letter(answer) == letter


def test_choice_applies_where_the_reference_is_a_letter():
    grades = grade("choice", ["(B)", "C", "no", "Paris"], ["B", "(B)", "B.", "Paris"], "")
    np.testing.assert_array_equal(grades, [1, 0, 0, np.nan])


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=5))
def test_any_text_has_a_grade_from_0_to_1_or_none(pairs):
    answers, references = [a for a, _ in pairs], [r for _, r in pairs]
    for name in ("exact", "choice"):
        grades = grade(name, answers, references, "")
        assert grades.shape == (len(pairs),)
        assert (np.isnan(grades) | ((grades >= 0) & (grades <= 1))).all()


@pytest.mark.parametrize("name", ["bertsim", "cosine"])
def test_the_encoder_knows_the_same_text(name):
    grades = grade(name, ["Yes, by bus", "", "A stone"], ["Yes, by bus", "x", "By bus"], minilm())
    assert grades[0] == pytest.approx(1, abs=1e-3)
    assert grades[2] < grades[0]


def test_no_answer_says_anything():
    assert grade("bertsim", ["", " "], ["x", "y"], minilm()).tolist() == [0, 0]


def test_every_grader_is_explained_and_offered():
    assert set(GRADERS) == set(MEANING) == set(QUALITIES)
