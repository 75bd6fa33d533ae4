"""Typos: pairs of words that are one class misspelt, and pairs that only look so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesion.data.labels.typos import likely_typos


@pytest.mark.parametrize(
    ("rare", "frequent"),
    [
        ("maligant", "malignant"),
        ("bening", "benign"),
        ("naevus", "nevus"),
        ("penumonia", "pneumonia"),
        ("seborrhoeic_keratosis", "seborrheic keratosis"),
        ("Melanom", "melanoma"),
    ],
)
def test_a_rare_word_nearly_spelt_as_a_frequent_one_is_a_typo(rare, frequent):
    found = likely_typos({rare: 2, frequent: 200})[rare]
    assert (found.word, found.meant, found.num_rows, found.num_meant) == (rare, frequent, 2, 200)
    assert likely_typos({rare: 90, frequent: 100}) == {}  # nobody misspells every second word


@pytest.mark.parametrize(
    ("one", "many"), [("nevus", "nevi"), ("metastasis", "metastases"), ("carcinoma", "carcinomata"), ("cyst", "cysts")]
)
def test_singular_and_plural_may_be_one_class_however_frequent(one, many):
    assert likely_typos({one: 100, many: 90})[many].meant == one


@pytest.mark.parametrize(
    ("a", "b"),
    [
        *[("stage 1", "stage 2"), ("T1a", "T1b"), ("type a", "type b"), ("BCC", "SCC"), ("left", "right")],
        *[("typical", "atypical"), ("hypoplasia", "hyperplasia"), ("normal", "abnormal"), ("male", "female")],
        *[("grade_10", "grade_1"), ("invasive", "noninvasive"), ("HER2+", "HER2-")],
    ],
)
def test_words_that_differ_by_a_meaning_are_no_typo(a, b):
    assert likely_typos({a: 1, b: 200}) == {}


@given(st.dictionaries(st.text(max_size=12), st.integers(1, 500), max_size=8))
def test_a_typo_is_of_a_word_that_is_there_and_is_no_typo_itself(counts):
    for word, typo in likely_typos(counts).items():
        assert typo.word == word and counts[typo.meant] >= counts[word]
        assert typo.meant not in likely_typos(counts)
