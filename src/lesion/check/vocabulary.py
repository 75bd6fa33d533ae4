"""Vocabulary: words of metadata in validation and test sets that training writes in another way, or does not have."""

# S samples

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from lesion.check.finding import Finding, Part, TableRow
from lesion.data.metadata import ColumnEncoder, ColumnType, MetadataEncoder, cell_text
from lesion.data.table import Rows
from lesion.words import listed, number_of, shortened

NUM_LETTERS = 40  # of a word in a message


def word_findings(training: Rows, test: Rows | None, kinds: Mapping[str, ColumnType]) -> list[Finding]:
    """For each column of words, and each set beside the training rows: which of its words count as another one of
    training, and which no training row has, so that they count as missing. `training` holds the validation rows too.
    """
    table = training.table()
    is_valid_S = np.zeros(len(table), dtype=bool) if table.is_valid_S is None else table.is_valid_S
    rows = [row for row, is_valid in zip(table.metadata_rows(), is_valid_S.tolist(), strict=True) if not is_valid]
    words = {name: kind for name, kind in kinds.items() if kind == "category"}
    findings: list[Finding] = []
    for encoder in MetadataEncoder.fit(rows, words).columns:
        findings += _of_set("validation", training, np.flatnonzero(is_valid_S).tolist(), encoder, part="training")
        if test is not None and encoder.name in test.table().metadata:
            findings += _of_set("test", test, list(range(len(test.table()))), encoder, part="test")
    return findings


def _of_set(called: str, source: Rows, rows: list[int], encoder: ColumnEncoder, *, part: Part) -> Iterator[Finding]:
    table = source.table()
    cell_S = table.metadata[encoder.name].fillna("").tolist()
    texts = {row: text for row in rows if (text := cell_text(cell_S[row])) is not None}
    other = {row: text for row, text in texts.items() if text not in encoder.categories}
    unknown = [row for row, text in other.items() if encoder.category_of(text) is None]
    column = f"column '{encoder.name}' of the {called} set"
    taken = [word for word in dict.fromkeys(other.values()) if encoder.category_of(word) is not None]
    if taken:
        each = [f"{_short(word)} as {_short(str(encoder.category_of(word)))}" for word in taken]
        what = f"{column} has words that training writes in another way, which count as its own: {listed(each)}"
        yield Finding("note", "other_words", what, where=table.where)
    if unknown:
        counts = Counter(other[row] for row in unknown).most_common()
        each = [f"{_short(word)} ({number_of(count, 'row')})" for word, count in counts]
        known = listed(list(map(_short, encoder.categories))) or "none"
        yield Finding(
            "warning",
            "unknown_words",
            f"{column} has words that no training row has, which count as missing: {listed(each)}",
            f"Write them as the training rows do ({known}), or add training rows that have them.",
            where=table.where,
            rows=tuple(TableRow(part, int(source.index_S[row]), str(table.name_S[row])) for row in unknown),
        )


def _short(word: str) -> str:
    return shortened(word, NUM_LETTERS)
