"""Metadata: a row's words and numbers to a vector. Fitted on training rows only; kept in the artifact as plain JSON."""

# N batch · M metadata features

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from lesion.data.numbers import as_number, is_number
from lesion.errors import UserError

Row = Mapping[str, object]
ColumnType = Literal["number", "category", "boolean"]

# What counts as missing, in a CSV and in a request alike; lower case.
MISSING = {"", "na", "n/a", "#n/a", "nan", "none", "null", "<na>", "-nan"}
TRUE, FALSE = {"true", "yes", "t", "y", "1"}, {"false", "no", "f", "n", "0"}  # of a boolean, lower case
# A standardised value is held within this many standard deviations, so that age 10000 cannot drive the network.
REACH = 10.0
# Numbers are held within this as they are read, so that their squares and sums stay finite; nothing measured is larger.
LARGEST = 1e100


@dataclass(frozen=True)
class ColumnEncoder:
    """One column. A number gives two features (standardised value, is-missing), a boolean two (1 or −1, is-missing),
    a category one for each known word. `is_log`: the number is taken as log(1 + x), for counts and long tails.
    """

    name: str
    kind: ColumnType
    mean: float = 0.0
    std: float = 1.0
    is_log: bool = False
    categories: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        return len(self.categories) if self.kind == "category" else 2

    def encode(self, value: object) -> list[float]:
        """The features of one cell. Missing and never-seen words give zeros; a missing number the mean and a flag."""
        text = cell_text(value)
        if self.kind == "category":
            return [float(text == category) for category in self.categories]
        if text is None:
            return [0.0, 1.0]
        if self.kind == "boolean":
            return [1.0 if _boolean(text, self.name) else -1.0, 0.0]
        number = _number(text, self.name, is_log=self.is_log)
        return [max(-REACH, min(REACH, (number - self.mean) / self.std)), 0.0]


@dataclass(frozen=True)
class MetadataEncoder:
    """All metadata columns, in the order of training, whatever the order in which a row names them."""

    columns: tuple[ColumnEncoder, ...]

    @classmethod
    def fit(cls, rows: Sequence[Row], kinds: Mapping[str, ColumnType], *, logs: Collection[str] = ()) -> Self:
        """Means, deviations and vocabularies of `rows`, which must be a fold's training rows and no others.

        The numbers of the columns `logs` are taken as log(1 + x).
        """
        return cls(
            tuple(
                _fit_column([row.get(name) for row in rows], name, kind, is_log=name in logs)
                for name, kind in kinds.items()
            )
        )

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


def column_kinds(rows: Sequence[Row], names: Sequence[str]) -> dict[str, ColumnType]:
    """Which columns hold numbers only, and which words of yes and no only.

    Looks at all rows: it is the table's form, and says nothing of any one fold.
    """
    return {name: _kind({text for row in rows if (text := cell_text(row.get(name))) is not None}) for name in names}


def _kind(texts: set[str]) -> ColumnType:
    if all(map(is_number, texts)):
        return "number"
    return "boolean" if {text.lower() for text in texts} <= TRUE | FALSE else "category"


def _fit_column(values: Sequence[object], name: str, kind: ColumnType, *, is_log: bool) -> ColumnEncoder:
    texts = [text for value in values if (text := cell_text(value)) is not None]
    if kind == "category":
        return ColumnEncoder(name, kind, categories=tuple(sorted(set(texts))))
    if kind == "boolean":
        for text in texts:
            _boolean(text, name)
        return ColumnEncoder(name, kind)
    numbers = [_number(text, name, is_log=is_log) for text in texts]
    mean = math.fsum(numbers) / len(numbers) if numbers else 0.0
    variance = math.fsum((number - mean) ** 2 for number in numbers) / len(numbers) if numbers else 0.0
    is_constant = variance <= (1e-9 * abs(mean)) ** 2  # rounding leaves a constant column a speck of variance
    return ColumnEncoder(name, kind, mean=mean, std=1.0 if is_constant else math.sqrt(variance), is_log=is_log)


def cell_text(value: object) -> str | None:
    """A cell as text, or None where it is missing. 45 and 45.0 and "45" are the same category."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    return None if text.lower() in MISSING else text


def _boolean(text: str, name: str) -> bool:
    if text.lower() not in TRUE | FALSE:
        raise UserError(
            f"'{text[:80]}' is neither yes nor no",
            where=f"metadata field {name}",
            do="Send true or false, or leave it out.",
        )
    return text.lower() in TRUE


def _number(text: str, name: str, *, is_log: bool = False) -> float:
    number = as_number(text)
    if number is None:
        raise UserError(
            f"'{text[:80]}' is not a number", where=f"metadata field {name}", do="Send a number, or leave it out."
        )
    if is_log and number < 0:
        raise UserError(
            f"'{text[:80]}' is below 0, and the column's logarithm is taken",
            where=f"metadata field {name}",
            do="Send 0 or more, or train without the column in log_columns.",
        )
    number = max(-LARGEST, min(LARGEST, number))
    return math.log1p(number) if is_log else number
