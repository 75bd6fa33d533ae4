"""JSON cells: what objects of samples say beside words and numbers: lists of labels, nested keys, a second label."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lesion.data.remark import Remark
from lesion.data.sources.column_names import plain
from lesion.data.sources.known_tables import USUAL_NAMES
from lesion.data.spelling import word_key
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
    rows: Sequence[dict[str, str]], words: Sequence[str | None], columns: Columns, where: Path
) -> list[Remark]:
    """Adds what KEY.cls says as the target of rows whose KEY.json has none, and says which of the two is used.

    Raises UserError, with the keys, where both say different things: not if one numbers the classes of the other.
    """
    if len(columns.targets) != 1:
        return []
    target = columns.targets[0]
    pairs: list[tuple[str, str, str]] = []  # key of the sample, what its .cls and its .json say
    image = columns.image or "image_name"
    for row, word in zip(rows, words, strict=True):
        if word is None:
            continue
        own = next((row[key] for key in row if plain(key) == plain(target)), None)
        if own is None:
            row[target] = word
        else:
            pairs.append((row[image], word, own))
    if not pairs:
        return []
    said = {(word_key(word), word_key(own)) for _, word, own in pairs}
    first, second = {one for one, _ in said}, {other for _, other in said}
    is_numbering = not first & second and len(said) == len(first) == len(second)
    wrong = [pair for pair in pairs if word_key(pair[1]) != word_key(pair[2])]
    if wrong and not is_numbering:
        told = listed([f"{key} ({word} and {own})" for key, word, own in wrong], most=3)
        raise UserError(
            f"KEY.cls and the '{target}' of KEY.json differ in {number_of(len(wrong), 'sample')}: {told}",
            where=where,
            do="Keep the right one of the two in the shards.",
        )
    how = "say the same" if not wrong else "number the same classes"
    what = (
        f"KEY.cls and the '{target}' of KEY.json {how} in {number_of(len(pairs), 'sample')}: that of the JSON is used"
    )
    return [Remark("two_labels", what, where=str(where))]
