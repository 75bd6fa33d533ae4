"""Decimal commas: a column of numbers is decided as a whole, and what is not clear stays as it is, with a warning."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesion.data.sources.tables.decimal_commas import whole_with_points, with_points

# Cells, what they are read as (None: as they were), the level of what is said, and its words.
COLUMNS = {
    "decimal commas": (["30,5", "4,25", "7"], ["30.5", "4.25", "7"], "note", "30,5 is read as 30.5"),
    "decimal commas and gaps": (["30,0", "", "NA", "7,0"], ["30.0", "", "NA", "7.0"], "note", "30,0 is read as 30.0"),
    "three digits beside others": (["0,125", "30,500", "7,5"], ["0.125", "30.500", "7.5"], "note", "0,125"),
    "a zero before the comma": (["0,500", "0,250"], ["0.500", "0.250"], "note", "0,250 is read as 0.250"),
    "points between thousands": (["1.030,5", "999,5"], ["1030.5", "999.5"], "note", "1.030,5 is read as 1030.5"),
    "signs and exponents": (["-1,5", "+2,5e3"], ["-1.5", "+2.5e3"], "note", "+2,5e3 is read as +2.5e3"),
    "both ways to write a decimal": (["30,5", "4.25"], ["30.5", "4.25"], "note", "30,5 is read as 30.5"),
    "commas between thousands": (
        ["1,030,500", "1,030", "7"],
        ["1030500", "1030", "7"],
        "note",
        "1,030 is read as 1030",
    ),
    "commas before points": (["1,030.5", "2,000"], ["1030.5", "2000"], "note", "1,030.5 is read as 1030.5"),
    "thousands or decimals": (["1,030", "2,500"], None, "warning", "unclear which comma is a decimal comma"),
    "points that may be either": (["1.030", "30,5"], None, "warning", "unclear which comma is a decimal comma"),
    "commas of both kinds": (["1,030.5", "30,5"], None, "warning", "unclear which comma is a decimal comma"),
    "a word among numbers": (["30,5"] * 9 + ["old"], None, "warning", "there are words too"),
    "words with commas": (["leg, left", "leg, right"], None, None, ""),
    "lists of codes": (["1,2,3", "4,5"], None, None, ""),
    "plain numbers": (["30.5", "7"], None, None, ""),
    "plain words": (["a", "b"], None, None, ""),
    "nothing": (["", ""], None, None, ""),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_a_column_is_read_as_a_whole(case):
    cells, expected, level, words = COLUMNS[case]
    values, remark = with_points(pd.Series(cells, dtype="string"), "size", "train.csv")
    assert values.tolist() == (cells if expected is None else expected)
    assert (None if remark is None else remark.level) == level
    assert remark is None or ("column 'size'" in remark.what and words in remark.what)


@given(numbers=st.lists(st.decimals(-1000, 1000, places=1), min_size=1, max_size=8))
def test_numbers_with_one_decimal_come_back(numbers):
    cells = [str(number).replace(".", ",") for number in numbers]
    values, _ = with_points(pd.Series(cells, dtype="string"), "size", "train.csv")
    assert values.astype(float).tolist() == [float(number) for number in numbers]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1,0", "0,0", "1,0"], ["1.0", "0.0", "1.0"]),  # as a spreadsheet writes 1 and 0
        (["1,2", "1", "2"], ["1,2", "1", "2"]),  # two labels in a cell
        (["1,0", "0,1"], ["1,0", "0,1"]),
        (["P1,0", "1,0"], ["P1,0", "1,0"]),
        (["1,000", "2,000"], ["1,000", "2,000"]),
    ],
)
def test_classes_and_ids_are_whole_numbers_or_stay_as_they_are(cells, expected):
    assert whole_with_points(pd.Series(cells, dtype="string")).tolist() == expected
