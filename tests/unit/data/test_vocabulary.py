"""Vocabulary: which words mean the same, and which only look alike."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesion.data.vocabulary import LONGEST, SAME, WIDER, meaning, normal_form, one_of_each, synonyms_of

EQUAL = [
    ("Male", "male"),
    ("M", "male"),
    ("man", "MEN"),
    ("F", "Female "),
    ("Läsion", "La\u0308sion"),  # one letter, or two
    ("STRASSE", "straße"),
    ("ｍａｌｅ", "male"),  # full width
    ("upper\u00a0extremity", "Upper  Extremity"),
    ("upper_extremity", "upper-extremity"),
    ("head / neck", "head/neck"),
    ("Head & Neck", "head and neck"),
    ("Trunk", "torso"),
    ("lower limbs", "Lower Extremity"),
    ("1.0", "1"),
    ("2.00", "2"),
]
DIFFERENT = [
    ("male", "female"),
    ("m", "f"),
    ("ER-", "ER+"),
    ("ER", "ER-"),
    ("-1", "1"),
    ("1+", "1"),
    ("1.0.5", "1.5"),
    ("1.5", "1"),
    ("007", "7"),
    ("upper extremity", "lower extremity"),
    ("arm", "upper extremity"),  # a part, which counts as the whole only where the whole is known
    ("hand", "palms/soles"),
    ("1", "male"),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_these_mean_the_same(one, other):
    assert meaning(one) == meaning(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_these_do_not(one, other):
    assert meaning(one) != meaning(other)


def test_the_lists_are_in_normal_form_and_name_a_word_once():
    words = [word for words in SAME for word in words]
    assert len(words) == len(set(words)) and not set(words) & set(WIDER)
    assert all(normal_form(word) == word for word in [*words, *WIDER, *WIDER.values()])


@given(st.text(max_size=2 * LONGEST))
def test_a_normal_form_is_its_own(word):
    assert normal_form(normal_form(word)) == normal_form(word)


def test_a_text_too_long_for_a_word_stays_as_it_is():
    """Unicode's normal form of a million accents on one letter would keep a core for minutes."""
    text = "a" + "\u0301\u0323" * 500_000
    assert normal_form(text) == text


def test_parts_count_as_a_wider_word_that_is_known_unless_they_are_known_themselves():
    assert synonyms_of(["torso", "upper extremity"])["chest"] == "torso"
    assert synonyms_of(["torso", "upper extremity"])["forearm"] == "upper extremity"
    assert "leg" not in synonyms_of(["torso", "upper extremity"])
    found = synonyms_of(["Trunk", "Back"])  # as some tables hold both
    assert found["chest"] == "Trunk" and found["torso"] == "Trunk" and "back" not in found
    assert "upper extremity" not in synonyms_of(["arm", "forearm"])  # the whole is no part


def test_of_each_meaning_the_commonest_spelling_stands_for_it():
    assert one_of_each(["M", "male", "male", "F", "f"]) == ["F", "male"]
    assert one_of_each(["b", "a", "B"]) == ["B", "a"]  # sorted as text always was
