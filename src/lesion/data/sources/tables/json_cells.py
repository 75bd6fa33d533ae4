"""JSON cells: what objects of samples say beside words and numbers: lists of labels, nested keys, a second label."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lesion.data.labels.spelling import word_key
from lesion.data.remark import Remark
from lesion.data.sources.tables.known_tables import USUAL_NAMES
from lesion.data.sources.tables.plain_name import plain
from lesion.data.table import Columns
from lesion.errors import UserError, raise_all
from lesion.words import listed, number_of, shortened

MOST_NESTED = 20  # keys of an object that are named


def list_cell(key: str, value: Any) -> str | None:
    """A list of labels as a cell of a table has it, ["Mass", "Edema"]: of words, or of whole numbers under a usual key
    of labels. None for anything else."""
    if not isinstance(value, list):
        return None
    is_label = plain(key) in {*USUAL_NAMES["target_column"], "labels", "target", "targets"}
    are_words = bool(value) and all(isinstance(one, str) for one in value)
    are_numbers = is_label and all(isinstance(one, int) and not isinstance(one, bool) for one in value)
    return json.dumps(value, ensure_ascii=False) if are_words or are_numbers else None


def paths_in(key: str, value: Any) -> Iterator[str]:
    """The keys of a nested value, as meta.label; the key itself of a list, and of an empty object."""
    if not isinstance(value, dict) or not value:
        yield key
        return
    for inner in list(value)[:MOST_NESTED]:
        yield f"{key}.{inner}"


def nested_remarks(rows: Sequence[dict[str, str]], nested: Counter[str], columns: Columns, where: Path) -> list[Remark]:
    """What is said of keys that are not read.

    Raises UserError if one of them is a target's name or a usual one for it, and no row has the target itself.
    """
    if not nested:
        return []
    there = {plain(key) for row in rows for key in row}
    wanted = {plain(name) for name in columns.targets}
    usual = wanted | {plain(name) for name in USUAL_NAMES["target_column"]}
    inside = [path for path in nested if plain(path.rpartition(".")[2]) in usual]
    named = listed([shortened(path, 80) for path in nested])
    is_known = wanted <= there or bool("target_column" in columns.unset and usual & there)
    if inside and wanted and not is_known and columns.are_targets_needed and not columns.is_lenient:
        raise_all(
            [
                UserError(
                    f"no object has {listed(sorted(columns.targets))}, and {inside[0]} is there, nested in another key",
                    where=where,
                    do=f'Write it as a key of its own: {{"{columns.targets[0]}": …}}.',
                )
            ]
        )
    what = f"keys that hold lists or objects are not read: {named}"
    return [Remark("nested_cells", what, "Write what counts as words or numbers.", str(where), "warning")]


def with_words(
    rows: Sequence[dict[str, str]], words: Sequence[str | None], columns: Columns, image: str, where: Path
) -> list[Remark]:
    """Adds what KEY.cls says as the target of rows whose KEY.json has none, and says which of the two is used. The
    column `image` holds the keys that an error names.

    Raises UserError, with the keys, where both say different things: not if one numbers the classes of the other.
    """
    if len(columns.targets) != 1:
        return []
    target = columns.targets[0]
    of_json = [next((row[key] for key in row if plain(key) == plain(target)), None) for row in rows]
    pairs = _said_twice(rows, words, of_json, image)
    is_numbering = _is_numbering(pairs)
    if not is_numbering:
        _refuse_differing(pairs, target, where)
    if "target_column" in columns.unset:  # a further label, unless it has classes of its own, such as finer ones
        for name in sorted(
            {key for row in rows for key in row if plain(key) in USUAL_NAMES["target_column"]} - {target}
        ):
            others = _said_twice(rows, words, [row.get(name) for row in rows], image)
            if {word_key(word) for _, word, _ in others} & {word_key(own) for _, _, own in others}:
                _refuse_differing(others, name, where)
    word_of = {word_key(word): own for _, word, own in pairs} if is_numbering else {}
    for row, word, own in zip(rows, words, of_json, strict=True):
        if word is not None and own is None:
            row[target] = word_of.get(word_key(word), word)
    if not pairs:
        return []
    how = "number the same classes" if is_numbering else "say the same"
    what = (
        f"KEY.cls and the '{target}' of KEY.json {how} in {number_of(len(pairs), 'sample')}: that of the JSON is used"
    )
    return [Remark("two_labels", what, where=str(where))]


Pairs = list[tuple[str, str, str]]  # a sample's key, what its .cls and its .json say


def _said_twice(
    rows: Sequence[dict[str, str]], words: Sequence[str | None], of_json: Sequence[str | None], image: str
) -> Pairs:
    return [
        (row[image], word, own)
        for row, word, own in zip(rows, words, of_json, strict=True)
        if word is not None and own is not None
    ]


def _is_numbering(pairs: Pairs) -> bool:
    """Whether the two have no word in common, and each word of the one goes with one of the other."""
    said = {(word_key(word), word_key(own)) for _, word, own in pairs}
    first, second = {one for one, _ in said}, {other for _, other in said}
    return bool(pairs) and not first & second and len(said) == len(first) == len(second)


def _refuse_differing(pairs: Pairs, name: str, where: Path) -> None:
    wrong = [pair for pair in pairs if word_key(pair[1]) != word_key(pair[2])]
    if wrong:
        told = listed([f"{key} ({word} and {own})" for key, word, own in wrong], most=3)
        raise UserError(
            f"KEY.cls and the '{name}' of KEY.json differ in {number_of(len(wrong), 'sample')}: {told}",
            where=where,
            do="Keep the right one of the two in the shards.",
        )
