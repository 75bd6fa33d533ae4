"""Decimal commas: a column of numbers such as 30,5 with points instead, decided for the column as a whole."""

from __future__ import annotations

import re

import pandas as pd

from lesion.data.metadata import MISSING
from lesion.data.numbers import is_number
from lesion.data.remark import Remark
from lesion.words import shortened

DECIMAL = re.compile(r"[+-]?(?:[0-9]+|[0-9]{1,3}(?:\.[0-9]{3})+),[0-9]+(?:[eE][+-]?[0-9]+)?")  # 30,5 and 1.030,5
THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]+)?")  # 1,030 and 1,030.5
POINTS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:\.[0-9]{3})+")  # 1.030: a number below 2, or a thousand and thirty
WHOLE = re.compile(r"[+-]?[0-9]+,0")
MOSTLY = 0.8  # of a column's filled cells are numbers: then the others are slips


def with_points(values: pd.Series, name: str, where: str) -> tuple[pd.Series, Remark | None]:
    """The column with its numbers as Python writes them, and what to say of it; unchanged where they are not clear.

    30,5 has a decimal comma; 1,030,500 and 1,030.5 separate thousands. 1,030 alone may be either: a warning.
    """
    texts = values.dropna().str.strip()
    commas = set(texts[texts.str.contains(",", regex=False)])
    if not commas:
        return values, None
    plain = {text for text in set(texts) - commas if text.lower() not in MISSING}
    numbers = {text for text in plain if is_number(text)}
    numbers |= {text for text in commas if DECIMAL.fullmatch(text) or THOUSANDS.fullmatch(text)}
    points = _points(commas, plain) if numbers == plain | commas else None
    example = shortened(min(commas), 40)
    if points:
        what = f"column '{name}' holds numbers with commas: {example} is read as {points[min(commas)]}"
        return values.str.strip().replace(points), Remark("decimal_commas", what, where=where)
    if not commas & numbers or texts.isin(numbers).sum() < MOSTLY * len(texts):
        return values, None  # words with commas
    why = "it is unclear which comma is a decimal comma" if numbers == plain | commas else "there are words too"
    if THOUSANDS.fullmatch(min(commas)):
        why += f" (in {example} it may separate thousands: write {example.replace(',', '')})"
    what = f"column '{name}' holds numbers with commas, such as {example}, but {why}: all stay words"
    return values, Remark("decimal_commas", what, "Write numbers with a point.", where, "warning")


def _points(commas: set[str], plain: set[str]) -> dict[str, str] | None:
    """Each number with commas as Python writes it; None where the commas may be of either kind."""
    may_be_decimal = all(map(DECIMAL.fullmatch, commas)) and not any(map(POINTS.fullmatch, plain))
    may_be_thousands = all(map(THOUSANDS.fullmatch, commas))
    if may_be_decimal == may_be_thousands:
        return None
    if may_be_decimal:
        return {text: text.replace(".", "").replace(",", ".") for text in commas}
    return {text: text.replace(",", "") for text in commas}


def whole_with_points(values: pd.Series) -> pd.Series:
    """A column of classes or ids in which each cell with a comma is a whole number such as 1,0: as 1.0.

    Other commas stay: there they join labels, as in "1,2".
    """
    texts = values.dropna().str.strip()
    commas = set(texts[texts.str.contains(",", regex=False)])
    if not commas or not all(map(WHOLE.fullmatch, commas)):
        return values
    return values.str.strip().replace({text: text.replace(",", ".") for text in commas})
