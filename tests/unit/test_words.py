"""Words: whatever users write becomes one line, and what can be read stays as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesion.words import listed, nearest, one_line, shortened, told_apart

READABLE = [
    r"costs $5_$",
    r"\frac",
    "$$",
    "%s",
    "{x}",
    "<b>",
    "_a_",
    "Ängström",
    "良性",
    "شامة",
    "🔬",
    "👩‍⚕️",
    "a b",
    "",
]


@pytest.mark.parametrize("text", READABLE)
def test_what_can_be_read_stays(text):
    assert one_line(text) == text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nmetric x:y=1", r"a\nmetric x:y=1"),
        ("a\r\n\tb\v\f", r"a\r\n\tb\x0b\x0c"),
        ("\0\x1b[31m\x7f\x85\x9b", r"\x00\x1b[31m\x7f\x85\x9b"),
        ("\u2028\u2029\u202e\u200f\u2066", r"\u2028\u2029\u202e\u200f\u2066"),
        ("caf\udce9", r"caf\udce9"),
    ],
)
def test_what_moves_or_ends_a_line_becomes_an_escape(text, line):
    assert one_line(text) == line


@given(st.text(st.characters(codec=None)))
def test_any_text_is_one_line_that_can_be_written(text):
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    line.encode()


def test_a_long_word_is_cut_where_that_is_said():
    assert shortened("x" * 10_000, 5) == "xxxx…"
    assert shortened("12345", 5) == "12345"
    assert shortened("\n" * 9, 5) == r"\n\n…"


def test_the_first_five_are_listed_and_the_others_counted():
    assert listed(list("abcde")) == "a, b, c, d, e"
    assert listed(list("abcdefg")) == "a, b, c, d, e and 2 more"
    assert listed(list("abc"), most=2, separator="; ") == "a; b and 1 more"
    assert listed([]) == ""


@given(st.sets(st.floats(allow_nan=False, allow_infinity=False), max_size=20))
def test_numbers_are_told_apart_in_as_few_digits_as_it_takes(numbers):
    texts = told_apart(numbers)
    assert set(texts) == numbers and len(set(texts.values())) == len(numbers)
    assert told_apart([0.123456, 25.0, 20200131]) == {0.123456: "0.1235", 25: "25", 20200131: "20200131"}
    assert list(told_apart([0.12345, 0.12346, 20200111.5]).values()) == ["0.12345", "0.12346", "20200112"]


def test_the_nearest_word_is_the_one_that_was_meant():
    assert nearest("melanom", ["nevus", "melanoma"]) == "melanoma"
    assert nearest("xyz", ["nevus", "melanoma"]) is None
