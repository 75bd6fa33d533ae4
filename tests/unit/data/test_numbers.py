"""Numbers: what JSON calls a number is one, and what only Python calls one is none."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesion.data.numbers import as_number, is_number


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**300), 10**300))
def test_every_number_of_json_is_one(number):
    assert as_number(json.dumps(number)) == pytest.approx(float(number), rel=1e-15)
    assert as_number(repr(float(number))) == float(number)


@given(st.text(max_size=12) | st.text("0123456789+-.eE_ ,", max_size=12))
def test_what_is_one_is_read_by_python_too_and_is_ascii_without_underscores(text):
    number = as_number(text)
    assert is_number(text) == (number is not None)
    if number is not None:
        assert number == float(text) and math.isfinite(number)
        assert text.isascii() and "_" not in text and text == text.strip()


@pytest.mark.parametrize("text", ["45", "-3.25", "1e5", "+5", "05", ".5", "5.", "1E-3", "0"])
def test_a_number_may_be_written_as_tables_write_it(text):
    assert as_number(text) == float(text)


@pytest.mark.parametrize(
    "text",
    ["4_5", "١٢", "４５", "inf", "-Infinity", "nan", "0x10", "1,5", "", " ", "1e", "e5", ".", "+", "1e999", "4 5"],
)
def test_what_python_or_a_person_might_read_is_none(text):
    assert as_number(text) is None


def test_a_long_text_that_is_none_is_none_at_once():
    assert not is_number("1" * 1_000_000 + "x")
