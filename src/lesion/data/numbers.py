"""Numbers: which texts are one, in a table and in a request alike."""

from __future__ import annotations

import math
import re

# JSON's grammar, and what tables write beside it: a sign before it, zeros before it, a point at either end. Python's
# own float() would also read 4_5, digits of other scripts, inf and nan. No two parts can match the same digits, so
# that a long text takes no longer than it is.
DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


AGE = re.compile(r"([0-9]{3})([YMWD])")
UNITS_A_YEAR = {"Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}


def as_number(text: str) -> float | None:
    """The finite number that a text of ASCII digits represents; None if it represents none."""
    if not DECIMAL.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None  # 1e999 has the form of one


def as_age(text: str) -> float | None:
    """The years of an age as DICOM writes it (PS3.5, value representation AS): 058Y, 006M, 003W, 010D; else None."""
    found = AGE.fullmatch(text)
    return None if found is None else int(found[1]) / UNITS_A_YEAR[found[2]]


def as_number_or_age(text: str) -> float | None:
    """What a cell of metadata counts as a number: a number, or years of an age as DICOM writes it."""
    number = as_number(text)
    return as_age(text) if number is None else number


def is_number(text: str) -> bool:
    """Whether a text represents a finite number."""
    return as_number(text) is not None
