"""Bands: the values of a column, as they are in a table, to a few subgroups in words. No pandas."""

# S samples

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.words import told_apart

UNKNOWN, OTHER = "unknown", "other"
MISSING = {"", "nan", "none", "null", "na", "n/a", "unknown", "<na>"}
AGE_BANDS = ((18, "under 18"), (40, "18 to 39"), (60, "40 to 59"), (80, "60 to 79"), (math.inf, "80 and above"))
IS_AGE = re.compile(r"(^|[^a-z])age([^a-z]|$)")
MOST_LEVELS = 20  # of words: the most frequent, and the rest together
FEW_NUMBERS = 5  # so many different numbers at most are levels as they are


def banded(name: str, values: Sequence[Any] | NDArray[Any]) -> NDArray[np.str_]:
    """The subgroup of each row [S]: of ages a band of life, of other numbers a quarter of the rows, of words the word.

    `name` is the column's: one with the word age in it holds years. Missing values are "unknown". Of more than 20
    words the rarest are "other".
    """
    words = ["" if value is None else str(value).strip() for value in values]
    is_known = [word.lower() not in MISSING for word in words]
    numbers = [_number(word) if known else None for word, known in zip(words, is_known, strict=True)]
    if any(is_known) and all((number is not None) == known for number, known in zip(numbers, is_known, strict=True)):
        known_numbers = [number for number in numbers if number is not None]
        if IS_AGE.search(name.lower()):
            levels = [_age_band(number) for number in known_numbers]
        elif len(set(known_numbers)) <= FEW_NUMBERS:
            texts = told_apart(known_numbers)
            levels = [texts[number] for number in known_numbers]
        else:
            levels = _quarters(known_numbers)
    else:
        levels = _words([word for word, known in zip(words, is_known, strict=True) if known])
    rest = iter(levels)
    return np.array([next(rest) if known else UNKNOWN for known in is_known], dtype=np.str_)


def _number(word: str) -> float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _age_band(years: float) -> str:
    return next(band for end, band in AGE_BANDS if years < end)


def _quarters(numbers: list[float]) -> list[str]:
    """The quarter of the rows that a number is in; where many are equal, fewer and larger parts."""
    quartiles = np.unique(np.quantile(numbers, [0.25, 0.5, 0.75], method="inverted_cdf"))
    ends = [float(end) for end in quartiles if end < max(numbers)]
    texts = told_apart([*ends, numbers[0]])
    names = [f"up to {texts[end]}" if number == 0 else f"above {texts[ends[number - 1]]} to {texts[end]}"
             for number, end in enumerate(ends)]  # fmt: skip
    names.append(f"above {texts[ends[-1]]}" if ends else texts[numbers[0]])
    return [names[int(place)] for place in np.searchsorted(ends, numbers, side="left")]


def _words(words: list[str]) -> list[str]:
    counts = Counter(words)
    if len(counts) <= MOST_LEVELS:
        return words
    frequent = {word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[: MOST_LEVELS - 1]}
    return [word if word in frequent else OTHER for word in words]
