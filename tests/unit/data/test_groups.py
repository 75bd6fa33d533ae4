"""Groups: one patient however the id was written, two where nobody can tell, none where a word says unknown."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesion.data.groups import alike, normal_id, one_spelling, own_groups, unknown_S

SAME = {
    "pandas, where a cell of the column is empty": ("1", "1.0"),
    "blanks": ("P1", " P1\t"),
    "a blank that does not break": ("P1", "P1\xa0"),
    "R": ("100000", "1e+05"),
    "a short exponent": ("1", "1e0"),
    "a comma that was a point": ("12", "12."),
    "a sign": ("7", "+7"),
    "zeros kept": ("007", "007.0"),
    "below zero": ("-1", "-1.0"),
    "macOS": (unicodedata.normalize("NFC", "Zoé"), unicodedata.normalize("NFD", "Zoé")),
    "more digits than a float holds": ("12345678901234567891", "12345678901234567891.0"),
}
DIFFERENT = [("7", "007"), ("P1", "p1"), ("1", "1.5"), ("0e5", "0"), ("12345678901234567891", "12345678901234567892")]


@pytest.mark.parametrize("why", SAME)
def test_an_id_in_two_ways_of_writing_is_one(why):
    one, other = SAME[why]
    assert normal_id(one) == normal_id(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_ids_that_may_be_two_patients_are_two(one, other):
    assert normal_id(one) != normal_id(other)


@given(st.integers(-(10**15) + 1, 10**15 - 1))
def test_a_whole_number_is_one_in_each_way_that_python_writes_it(number):
    assert {normal_id(text) for text in (str(number), f"{number}.0", f"{number}.", f" {number} ")} == {str(number)}
    if number:
        assert normal_id(f"{number:.16e}") == str(number)


@given(st.lists(st.sampled_from(["1", "1.0", "1e0", "2", "P1", "p1"]), min_size=1), st.randoms())
def test_one_spelling_keeps_patients_apart_and_does_not_ask_for_the_order_of_rows(texts, random):
    spelt, _ = one_spelling(np.array(texts))
    assert [normal_id(text) for text in spelt] == [normal_id(text) for text in texts]
    assert len(set(spelt.tolist())) == len(set(map(normal_id, texts))) and set(spelt.tolist()) <= set(texts)
    order = random.sample(range(len(texts)), len(texts))
    assert one_spelling(np.array(texts)[order])[0].tolist() == spelt[order].tolist()


def test_the_spelling_of_most_rows_is_kept_and_the_others_are_told():
    spelt, joined = one_spelling(np.array(["1", "1.0", "1.0", "2"]))
    assert spelt.tolist() == ["1.0", "1.0", "1.0", "2"] and joined == [("1.0", "1")]


WORDS = [
    *("unknown", "UNKNOWN", "Unknown patient", "unknown_patient", "n/a", "#N/A", "N.A.", "NaN", "None", "<NA>", "null"),
    *("-", "?", "", "missing", "unk", "anonymous", "no id", "not recorded", "#REF!", "unbekannt"),
]


@pytest.mark.parametrize("word", WORDS)
def test_a_word_for_unknown_is_no_id_however_often_it_stands_there(word):
    assert unknown_S(np.array(["P1", word, "P2"])).tolist() == [False, True, False]


@pytest.mark.parametrize(
    "text", ["P1", "no", "Nan Li", "unknown soldier", "anonymous-0017", "NA12878", "x1", "Ünal", "患者1"]
)
def test_an_id_that_holds_such_a_word_is_an_id(text):
    assert not unknown_S(np.array(["P1", text, text, text])).any()


@pytest.mark.parametrize(
    ("number", "num_rows", "is_unknown"),
    [
        *(
            ("-1", 20, True),
            ("-1.0", 20, True),
            ("0", 20, True),
            ("999", 20, True),
            ("0000", 20, True),
            ("-9", 4, True),
        ),
        *(("-1", 3, False), ("0", 9, False), ("99", 4, False), ("17", 20, False)),
    ],
)
def test_a_number_for_unknown_is_no_id_where_it_fills_more_rows_than_a_patient_can(number, num_rows, is_unknown):
    """Three rows of each patient."""
    texts = [f"{row // 3 + 1}" for row in range(30)] + [number] * num_rows
    assert unknown_S(np.array(texts)).tolist() == [False] * 30 + [is_unknown] * num_rows


def test_of_a_few_groups_the_largest_may_be_called_0():
    """Hospitals, for example."""
    assert not unknown_S(np.array(["0"] * 90 + ["1"] * 10 + ["2"] * 5)).any()


def test_rows_of_their_own_are_called_as_their_images_unless_a_group_is():
    is_own_S = np.array([True, True, False, False])
    groups = own_groups(np.array(["?", "?", "b", "c"]), np.array(["a", "b", "x", "y"]), is_own_S)
    assert groups.tolist() == ["a", "b (2)", "b", "c"]


@pytest.mark.parametrize(
    ("one", "other"), [("P1", "p1"), ("007", "7"), ("P001", "P1"), ("P 1", "P_1"), ("P-1", "p-01"), ("７", "7")]
)
def test_ids_that_only_a_person_can_tell_apart_are_named(one, other):
    assert alike(["Q", one, other]) == [tuple(sorted([one, other]))]


def test_other_ids_are_not_alike():
    assert alike(["1", "1.0", "10", "100", "1.5", "1.05", "P1", "P10", "P-1-1", "P-11", "a", "b"]) == []
