"""Metadata: a row's words and numbers to a vector. Fitted on training rows only; kept in the artifact as plain JSON."""

# N batch · M metadata features

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from lesion.data.numbers import as_number_or_age, is_number
from lesion.data.vocabulary import normal_form, one_of_each, synonyms_of
from lesion.errors import UserError

Row = Mapping[str, object]
ColumnType = Literal["number", "category", "boolean"]
Learned = Literal["value", "presence", "nothing"]

# What counts as missing, in a CSV and in a request alike; lower case.
MISSING = {"", "na", "n/a", "#n/a", "nan", "none", "null", "<na>", "-nan"}
MISSING |= {"#na", "#n/a n/a", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"}  # as spreadsheets and C libraries write it
# What requests, and tables to predict, call columns of the SIIM-ISIC challenge if they lack these names.
ALIASES = {"age": "age_approx", "anatomy": "anatom_site_general_challenge"}
TRUE, FALSE = {"true", "yes", "t", "y", "1"}, {"false", "no", "f", "n", "0"}  # of a boolean, lower case
# A standardised value is held within this many standard deviations, so that age 10000 cannot drive the network.
REACH = 10.0
# Numbers are held within this as they are read, so that their squares and sums stay finite; nothing measured is larger.
LARGEST = 1e100
# Numbers that are written in another way than data/numbers.py reads: infinite, with a comma, in thousands, in digits of
# other scripts, with a unit. Not 1+ and 3a, which are grades.
OTHER_NUMBER = re.compile(
    r"[+-]?(?:inf|infinity|∞|(?:(?:\d{1,3}(?:[ ,'.]\d{3})+|\d+(?:_\d+)*)(?:[.,]\d*)?|[.,]\d+)(?:e[+-]?\d+)?)\s*"
    r"(?:%|y|yo|yrs?|years?(?: old)?|months?|weeks?|days?|mm|cm|kg|g)?"
)


@dataclass(frozen=True)
class ColumnEncoder:
    """One column. A number gives two features (standardised value, is-missing), a boolean two (1 or −1, is-missing),
    a category one for each known word. `is_log`: the number is taken as log(1 + x), for counts and long tails.

    Words are compared in their normal form (data/vocabulary.py); `synonyms` holds the others, in that form, that count
    as one of the categories, so that a later version of Lesion answers as this one did. None: words are compared as
    they are written, as the artifacts of earlier versions do.

    `learned` is what the training rows can teach of a number or a boolean. presence: of one number in some of the rows,
    whether it is there; any number counts as the mean. nothing: of a column without value, or with one number in all
    rows; it has no features, since weights that have learned nothing would follow them.
    """

    name: str
    kind: ColumnType
    mean: float = 0.0
    std: float = 1.0
    is_log: bool = False
    categories: tuple[str, ...] = ()
    synonyms: dict[str, str] | None = None
    learned: Learned = "value"

    @property
    def width(self) -> int:
        if self.kind == "category":
            return len(self.categories)
        return 0 if self.learned == "nothing" else 2

    def encode(self, value: object) -> list[float]:
        """The features of one cell. Missing and never-seen words give zeros; a missing number the mean and a flag."""
        features_W = np.zeros(self.width)
        self.write(value, features_W)
        return [float(feature) for feature in features_W]

    def write(self, value: object, features_W: NDArray[np.floating]) -> None:
        """Writes the features of one cell over zeros."""
        if self.kind == "category":
            known = self.category_of(value)
            if known is not None:
                features_W[self._place_of[known]] = 1.0
        elif self.learned == "nothing":
            return
        elif (text := cell_text(value)) is None:
            features_W[1] = 1.0
        elif self.kind == "boolean":
            features_W[0] = 1.0 if _boolean(text, self.name) else -1.0
        else:
            number = _number(text, self.name, is_log=self.is_log)
            is_told = self.learned == "value"
            features_W[0] = max(-REACH, min(REACH, (number - self.mean) / self.std)) if is_told else 0.0

    def category_of(self, value: object) -> str | None:
        """The category that a cell means; None where it is missing, and for a word that none of them is."""
        text = cell_text(value)
        if text is None:
            return None
        return self._category_of_word.get(text if self.synonyms is None else normal_form(text))

    @cached_property
    def _place_of(self) -> dict[str, int]:
        return {category: place for place, category in enumerate(self.categories)}

    @cached_property
    def _category_of_word(self) -> dict[str, str]:
        if self.synonyms is None:
            return {category: category for category in self.categories}
        return {**self.synonyms, **{normal_form(category): category for category in self.categories}}


@dataclass(frozen=True)
class MetadataEncoder:
    """The encoders of all metadata columns, in the order of training."""

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
        """Features [N, M] of rows, which may lack columns, have others, or hold None.

        Raises UserError for a cell that should be a number and is not.
        """
        features_NM = np.zeros((len(rows), self.num_features), dtype=np.float32)
        ends = np.cumsum([column.width for column in self.columns]).tolist()
        parts = [(column, slice(end - column.width, end)) for column, end in zip(self.columns, ends, strict=True)]
        for row, features_M in zip(rows, features_NM, strict=True):
            for column, part in parts:
                column.write(row.get(column.name), features_M[part])
        return features_NM


class KnownWords:
    """The words of a column that any of its encoders, one for each fold, knows."""

    def __init__(self, encoders: Iterable[ColumnEncoder]) -> None:
        self._encoders = tuple(encoders)

    def __contains__(self, word: object) -> bool:
        return any(encoder.category_of(word) is not None for encoder in self._encoders)

    @property
    def categories(self) -> list[str]:
        """Each once, in the alphabet's order: folds may have met a word in other spellings."""
        words = [category for encoder in self._encoders for category in encoder.categories]
        is_exact = any(encoder.synonyms is None for encoder in self._encoders)
        return sorted(set(words)) if is_exact else one_of_each(words)


def unknown_words(values: Iterable[object], known: Container[str]) -> Counter[str]:
    """The words among a column's cells that are not known, and in how many cells each is."""
    counts = Counter(text for value in values if (text := cell_text(value)) is not None)
    return Counter({word: count for word, count in counts.items() if word not in known})


def column_kinds(rows: Sequence[Row], names: Sequence[str]) -> dict[str, ColumnType]:
    """The type of each column: number, boolean or category.

    A column of numbers of which some are written in another way is one of numbers: an encoder refuses these cells by
    name, where categories would make a word of each number.
    Uses all rows: the type is a property of the table, so no information leaks between folds.
    """
    return {name: _kind({text for row in rows if (text := cell_text(row.get(name))) is not None}) for name in names}


def _kind(texts: set[str]) -> ColumnType:
    if all(as_number_or_age(text) is not None or is_meant_as_number(text) for text in texts):
        return "number"
    words = {text.lower() for text in texts}
    return "boolean" if are_yes_and_no(words) and words != {"f"} else "category"  # f alone: all of them female


def are_yes_and_no(words: Collection[str]) -> bool:
    """Whether all words, in lower case, say yes or no. Not N beside F, nor T beside Y: two classes in one letter each,
    such as normal and fracture, since nobody writes one answer in both letters."""
    return set(words) <= TRUE | FALSE and not ({"n", "f"} <= set(words) or {"t", "y"} <= set(words))


def _fit_column(values: Sequence[object], name: str, kind: ColumnType, *, is_log: bool) -> ColumnEncoder:
    texts = [text for value in values if (text := cell_text(value)) is not None]
    if kind == "category":
        categories = tuple(one_of_each(texts))
        return ColumnEncoder(name, kind, categories=categories, synonyms=synonyms_of(categories))
    if kind == "boolean":
        for text in texts:
            _boolean(text, name)
        return ColumnEncoder(name, kind, learned="value" if texts else "nothing")
    numbers = [_number(text, name, is_log=is_log) for text in texts]
    mean = math.fsum(numbers) / len(numbers) if numbers else 0.0
    variance = math.fsum((number - mean) ** 2 for number in numbers) / len(numbers) if numbers else 0.0
    if variance <= (1e-9 * abs(mean)) ** 2:  # rounding leaves a constant column a speck of variance
        is_there_in_some = 0 < len(numbers) < len(values)
        return ColumnEncoder(
            name, kind, mean=mean, is_log=is_log, learned="presence" if is_there_in_some else "nothing"
        )
    return ColumnEncoder(name, kind, mean=mean, std=math.sqrt(variance), is_log=is_log)


def cell_text(value: object) -> str | None:
    """A cell as text, or None where it is missing. 45 and 45.0 and "45" are the same category."""
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    return None if text.lower() in MISSING else text


def is_meant_as_number(text: str) -> bool:
    """Whether a text that is no number was meant as one: 30,0 or inf or 30 years."""
    return not is_number(text) and OTHER_NUMBER.fullmatch(text.strip().lower()) is not None


def _boolean(text: str, name: str) -> bool:
    if text.lower() not in TRUE | FALSE:
        raise UserError(
            f"'{text[:80]}' is neither yes nor no",
            where=f"metadata field {name}",
            do="Send true or false, or leave it out.",
        )
    return text.lower() in TRUE


def _number(text: str, name: str, *, is_log: bool = False) -> float:
    number = as_number_or_age(text)
    if number is None:
        raise UserError(
            f"'{text[:80]}' is not a number",
            where=f"metadata field {name}",
            do="Send a number, such as 30 or 30.5, or leave it out.",
        )
    if is_log and number < 0:
        raise UserError(
            f"'{text[:80]}' is below 0, and the column's logarithm is taken",
            where=f"metadata field {name}",
            do="Send 0 or more, or train without the column in log_columns.",
        )
    number = max(-LARGEST, min(LARGEST, number))
    return math.log1p(number) if is_log else number
