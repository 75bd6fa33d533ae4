"""Fields: the metadata of a request by the model's own columns, and the names of what the model has no use for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from lesion.algorithms.classify.manifest import ClassifierRecord
from lesion.data.metadata import Row, cell_text
from lesion.serve.texts import bad_request, quoted

# What the brief's clients call the columns of the SIIM-ISIC challenge.
ALIASES = {"age": "age_approx", "anatomy": "anatom_site_general_challenge"}
MAX_UNUSED = 20  # names of one request that are told; how many more there were is told after them
NAME_LETTERS = 40
LINE_LETTERS = 1000

Words = Mapping[str, Collection[str]]  # those that training had, by column


@dataclass(frozen=True)
class Fields:
    """What the model knows: its columns, and the words of those that hold words."""

    columns: Sequence[str]
    words: Words = field(default_factory=dict)

    def column(self, name: str) -> str | None:
        """The column that a field's name means, in any case; None for a name that the model does not know."""
        return name if name in self.columns else _columns_by_key(tuple(self.columns)).get(_key(name))

    def read(self, sent: Mapping[str, Any], place: str) -> tuple[Row, list[str]]:
        """Metadata by column, strangers by their own names; and what of it is not used.

        Raises UserError of kind `bad_request` for two names that mean one column, and for what is no text or number.
        """
        row: dict[str, object] = {}
        names: dict[str, str] = {}
        unused = []
        for name, value in sent.items():
            if not isinstance(value, str | int | float | bool | None):
                what = f"{place}metadata field {quoted(name)} is not text or a number"
                raise bad_request(what, "Send one value a field.")
            column = self.column(name)
            if column is None:
                row[name] = value
                if cell_text(value) is not None:
                    unused.append(_unused(name, "field"))
            elif column in row:
                what = f"{place}fields {quoted(names[column])} and {quoted(name)} both mean '{column}'"
                raise bad_request(what, "Send one of them.")
            else:
                row[column], names[column] = value, name
        return row, unused + self.unknown_words(row)

    def unknown_words(self, row: Row) -> list[str]:
        """The columns of `row` whose word no training row had: the networks see nothing of it."""
        return [
            _unused(column, "word")
            for column, value in row.items()
            if column in self.words and (text := cell_text(value)) is not None and text not in self.words[column]
        ]


def known_fields(model: ClassifierRecord, folds: Collection[int]) -> Fields:
    """What the networks of a model know, any of the folds that are asked."""
    words: dict[str, set[str]] = {}
    for record in model.folds:
        for column in record.metadata:
            if record.fold in folds and column.kind == "category":
                words.setdefault(column.name, set()).update(column.categories)
    return Fields(tuple(model.metadata_columns), words)


def names_for(column: str, columns: Collection[str]) -> list[str]:
    """The short names that mean a column of this model too."""
    by_key = _columns_by_key(tuple(columns))
    return [alias for alias in ALIASES if by_key.get(alias) == column != alias]


def unknown_fields(names: Iterable[str]) -> list[str]:
    """What is said of names that the model does not know."""
    return [_unused(name, "field") for name in names]


def unknown_parameters(names: Iterable[str]) -> list[str]:
    """What is said of parameters of the address: none is known."""
    return [_unused(name, "parameter") for name in names]


def unused_line(unused: Collection[str]) -> str:
    """What was not used, each once and no more than a few, for a header or a line of the log: ASCII without spaces."""
    once = list(dict.fromkeys(unused))
    line = ",".join(once[:MAX_UNUSED])
    num_told = MAX_UNUSED if len(line) <= LINE_LETTERS else 1  # names of other scripts are long once escaped
    more = [f"{len(once) - num_told}_more"] if len(once) > num_told else []
    return ",".join(once[:num_told] + more)


def _unused(name: str, what: str) -> str:
    """The name, never the value, which may be a patient's; %-escaped, so that it can end no header and no log line."""
    return f"{quote(name[:NAME_LETTERS], safe='', errors='replace')}:unknown_{what}"


def _key(name: str) -> str:
    return name.strip().casefold()


@lru_cache(maxsize=8)
def _columns_by_key(columns: tuple[str, ...]) -> dict[str, str]:
    """The column of each name in lower case that means only one."""
    num_columns = Counter(map(_key, columns))
    short = {alias: column for alias, column in ALIASES.items() if column in columns and alias not in num_columns}
    return short | {_key(column): column for column in columns if num_columns[_key(column)] == 1}
