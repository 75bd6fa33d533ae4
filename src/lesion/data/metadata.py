"""Metadata: a row's words and numbers to a vector. Fitted on training rows only; kept in the artifact as plain JSON."""

# N batch · M metadata features

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from lesion.errors import UserError

Row = Mapping[str, object]
Kind = Literal["number", "category"]

# What counts as missing, in a CSV and in a request alike; lower case.
MISSING = {"", "na", "n/a", "#n/a", "nan", "none", "null", "<na>", "-nan"}
# A standardised value is held within this many standard deviations, so that age 10000 cannot drive the network.
REACH = 10.0
# Numbers are held within this as they are read, so that their squares and sums stay finite; nothing measured is larger.
LARGEST = 1e100


@dataclass(frozen=True)
class ColumnEncoder:
    """One column. A number gives two features (standardised value, is-missing), a category one for each known word."""

    name: str
    kind: Kind
    mean: float = 0.0
    std: float = 1.0
    categories: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        return 2 if self.kind == "number" else len(self.categories)

    def encode(self, value: object) -> list[float]:
        """The features of one cell. Missing and never-seen words give zeros; a missing number the mean and a flag."""
        text = _text(value)
        if self.kind == "category":
            return [float(text == category) for category in self.categories]
        number = None if text is None else _number(text, self.name)
        if number is None:
            return [0.0, 1.0]
        return [max(-REACH, min(REACH, (number - self.mean) / self.std)), 0.0]


@dataclass(frozen=True)
class MetadataEncoder:
    """All metadata columns, in the order of training, whatever the order in which a row names them."""

    columns: tuple[ColumnEncoder, ...]

    @classmethod
    def fit(cls, rows: Sequence[Row], kinds: Mapping[str, Kind]) -> Self:
        """Means, deviations and vocabularies of `rows`, which must be a fold's training rows and no others."""
        return cls(tuple(_fit_column([row.get(name) for row in rows], name, kind) for name, kind in kinds.items()))

    @property
    def num_features(self) -> int:
        return sum(column.width for column in self.columns)

    def encode(self, rows: Sequence[Row]) -> NDArray[np.float32]:
        """Features [N, M] of rows that may lack columns, name others, or hold None.

        Raises UserError for a number that is none.
        """
        features = [
            [feature for column in self.columns for feature in column.encode(row.get(column.name))] for row in rows
        ]
        return np.array(features, dtype=np.float32).reshape(len(rows), self.num_features)


def column_kinds(rows: Sequence[Row], names: Sequence[str]) -> dict[str, Kind]:
    """Which columns hold numbers only. Looks at all rows: it is the table's form, and says nothing of any one fold."""
    return {name: "number" if all(_is_number(_text(row.get(name))) for row in rows) else "category" for name in names}


def _fit_column(values: Sequence[object], name: str, kind: Kind) -> ColumnEncoder:
    texts = [text for value in values if (text := _text(value)) is not None]
    if kind == "category":
        return ColumnEncoder(name, kind, categories=tuple(sorted(set(texts))))
    numbers = [_number(text, name) for text in texts]
    mean = math.fsum(numbers) / len(numbers) if numbers else 0.0
    variance = math.fsum((number - mean) ** 2 for number in numbers) / len(numbers) if numbers else 0.0
    is_constant = variance <= (1e-9 * abs(mean)) ** 2  # rounding leaves a constant column a speck of variance
    return ColumnEncoder(name, kind, mean=mean, std=1.0 if is_constant else math.sqrt(variance))


def _text(value: object) -> str | None:
    """A cell as text, or None where it is missing. 45 and 45.0 and "45" are the same category."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    return None if text.lower() in MISSING else text


def _number(text: str, name: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(
            f"'{text[:80]}' is not a number", where=f"metadata field {name}", do="Send a number, or leave it out."
        )
    return max(-LARGEST, min(LARGEST, number))


def _is_number(text: str | None) -> bool:
    try:
        return text is None or math.isfinite(float(text))
    except ValueError:
        return False
