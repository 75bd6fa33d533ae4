"""Label task: which question the target columns ask, as they are written: binary, multiclass or multilabel.

The positive class of a binary question is decided after it (`positive_class`). Each decision that could be meant
otherwise is a remark with the setting that turns it, or where nothing speaks for one of the ways, a refusal.
"""

# S samples · C classes

from __future__ import annotations

from collections import Counter
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lesion.data.labels.cells import (
    ONE_EACH,
    Cells,
    ColumnCells,
    JoinedCells,
    WordCells,
    called,
    refuse_not_one,
    said_of_not_one,
    texts_of,
)
from lesion.data.labels.doubts import said_of_missing_codes, said_of_names
from lesion.data.labels.joined_labels import LIST, parted, says_none
from lesion.data.labels.measurements import AS_CLASSES, refuse_many_numbers, refuse_measurements
from lesion.data.labels.positive_words import positive_word
from lesion.data.labels.spelling import is_whole, spellings, usual, word_key
from lesion.data.labels.uncertain import BLANK, UNCERTAIN, Policy
from lesion.data.metadata import FALSE, TRUE, are_yes_and_no
from lesion.data.remark import Remark
from lesion.data.table import SampleTable
from lesion.errors import UserError
from lesion.targets import Target
from lesion.words import listed, number_of

MAX_CLASSES = 1000
YES_NO = ("0", "1")
NEARLY = 0.9  # of the rows have exactly one class: the others are mistakes, or labels of their own
MOST_LISTED = 20  # classes in a message
TaskType = Literal["auto", "multiclass", "multilabel"]
Read = tuple[Target, Cells, tuple[Remark, ...]]


def columns_of_classes(table: SampleTable, columns: tuple[str, ...], task_type: TaskType, on_uncertain: Policy) -> Read:
    """A class for each column: multilabel, or one question if each row has exactly one 1.

    Labels that may be uncertain or blank are questions of their own, unless the user says otherwise.
    """
    cells = ColumnCells(columns)
    is_class_SC = cells.read(table)
    is_one_hot = on_uncertain == "error" and bool((is_class_SC.sum(axis=1) == 1).all())  # NaN is uncertain
    if task_type == "multiclass":
        refuse_not_one(table, is_class_SC)
    elif task_type == "multilabel" or not is_one_hot:
        nearly = _nearly_one_hot(table, is_class_SC, columns) if task_type == "auto" else ()
        return Target("multilabel", columns), cells, nearly
    kind: Literal["binary", "multiclass"] = "binary" if len(columns) == 2 else "multiclass"
    remark = Remark(
        "one_hot_columns",
        f"each row has exactly one 1 in the columns {listed(columns, most=MOST_LISTED)}: they are read as the classes "
        f"of one {kind} question",
        "If a row may have several of them, or none, set task_type=multilabel.",
        table.where,
        "warning" if task_type == "auto" else "note",
    )
    return Target(kind, columns), cells, (remark,)


def _nearly_one_hot(
    table: SampleTable, is_class_SC: NDArray[np.floating], columns: tuple[str, ...]
) -> tuple[Remark, ...]:
    """A warning where nearly all rows have exactly one 1, so that the others may be mistakes."""
    is_one_S = is_class_SC.sum(axis=1) == 1
    if is_one_S.mean() < NEARLY:
        return ()
    odd = np.flatnonzero(~is_one_S)
    return (
        Remark(
            "nearly_one_hot",
            f"{int(is_one_S.sum())} of {len(table)} rows have exactly one 1 in the columns "
            f"{listed(columns, most=MOST_LISTED)}, and {listed(table.name_S[odd].tolist())} not "
            f"({said_of_not_one(table, is_class_SC)}): each column is read as a question of its own",
            f"If each row is of one class: {ONE_EACH} If a row may have several, or none, set task_type=multilabel.",
            table.where,
            "warning",
        ),
    )


def joined_labels(table: SampleTable, separator: str, *, is_told: bool) -> Read:
    """A class for each of the labels that the cells join; words such as "No Finding" are none."""
    texts = texts_of(table)
    parts = [part for text in texts for part in parted(text, separator) if word_key(part) not in {*UNCERTAIN, BLANK}]
    others = {part for part in parts if word_key(part) != "0"}
    none = sorted({part for part in parts if says_none(part, others)})
    words = tuple(sorted(usual(of) for of in spellings(part for part in parts if part not in none).values()))
    if not 2 <= len(words) <= _most_classes(table):
        raise UserError(
            f"{called(table)} holds {len(words)} different labels in {len(texts)} rows, separated by '{separator}'",
            where=table.where,
            do="Set label_separator=none if each cell is one class, or target_column to a column of labels.",
        )
    num_joined = sum(len(parted(text, separator)) > 1 for text in texts)
    how = "written as lists" if separator == LIST else f"separated by '{separator}'"
    of_none = f"; {listed(none)} is none of them" if none else ""
    remark = Remark(
        "joined_labels",
        f"{called(table)} holds several labels in {num_joined} of {len(table)} rows, {how}: they "
        f"are read as multilabel, with the labels {listed(words, most=MOST_LISTED)}{of_none}",
        "If each such cell is one class, set label_separator=none.",
        table.where,
        "note" if is_told else "warning",
    )
    cells = JoinedCells(words, {word_key(word): number for number, word in enumerate(words)}, separator)
    return Target("multilabel", words), cells, (remark,)


def is_open(table: SampleTable) -> bool:
    """Whether what the only target column asks is not known before its empty cells are filled in."""
    return len(table.target_names) == 1 and bool(table.unclear_targets) and len(spellings(texts_of(table))) < 2


def one_column(table: SampleTable, on_uncertain: Policy) -> Read:
    """A class for each word, however it is spelt."""
    counts = spellings(texts_of(table))
    if on_uncertain != "error":
        counts = {key: of for key, of in counts.items() if key not in {*UNCERTAIN, BLANK}}
    keys_of = _without_synonyms(table, counts)
    words = tuple(sorted(keys_of, key=lambda word: (not is_whole(word), float(word) if is_whole(word) else 0.0, word)))
    if not table.has_class_folders:  # whoever makes a folder of images has made a class of it
        refuse_measurements(words, called=called(table), where=table.where)
    if len(words) < 2:
        other = {"0": "1", "1": "0"}.get(words[0]) if words else None
        raise UserError(
            f"{called(table)} holds one value only, {words[0]}, in all {len(table)} rows"
            if words
            else f"{called(table)} holds only uncertain and blank labels",
            where=table.where,
            do=f"Add rows of {f'class {other}' if other else 'another class'}, or set target_column to another column."
            + " If all images are normal, algorithm=anomaly learns from them alone." * bool(words),
        )
    of_numbers: tuple[Remark, ...] = ()
    if not table.has_class_folders and not _are_named(table):
        of_numbers = refuse_many_numbers(words, len(table), called=called(table), where=table.where)
    if len(words) > _most_classes(table):
        raise UserError(
            f"{called(table)} holds {len(words)} different values in {len(table)} rows: not a column of classes",
            where=table.where,
            do=AS_CLASSES if all(map(is_whole, words)) else "Set target_column.",
        )
    said = (*of_numbers, *(_uncertain_class(table, words) if on_uncertain == "error" else ()))
    said = (*said, *said_of_missing_codes(table, words))
    class_of = {key: number for number, word in enumerate(words) for key in keys_of[word]}
    names = _names(table, words, class_of)
    said = (
        *said,
        *said_of_names(
            table, words, names, number_S=np.array([class_of.get(word_key(text), -1) for text in texts_of(table)])
        ),
    )
    if set(words) != set(YES_NO):  # another table may name its classes in words
        class_of = {**{word_key(name): number for number, name in enumerate(names)}, **class_of}
    return Target("binary" if len(words) == 2 else "multiclass", names), WordCells(words, class_of), said


def _without_synonyms(table: SampleTable, counts: dict[str, Counter[str]]) -> dict[str, list[str]]:
    """The keys of each class by its word. In a column of yes and no, 1 and True and yes are one class."""
    yes, no = [key for key in counts if key in TRUE], [key for key in counts if key in FALSE]
    sides = (("0", no, FALSE), ("1", yes, TRUE))
    if are_yes_and_no(counts):
        merged = {}
        for number, same, synonyms in sides:
            if same:
                word = number if number in same else usual(sum((counts[key] for key in same), Counter()))
                merged[word] = sorted(synonyms)
        return merged
    for number, same, _ in sides:
        if number in same and (others := [usual(counts[key]) for key in same if len(key) > 1]):
            raise UserError(
                f"{called(table)} holds {number} and {others[0]}, which say the same, beside other classes",
                where=table.where,
                do="Write each class in one way.",
            )
    return {usual(of): [key] for key, of in counts.items()}


def _uncertain_class(table: SampleTable, words: tuple[str, ...]) -> tuple[Remark, ...]:
    """A remark on a class that is called uncertain. Raises UserError where it stands beside a yes and a no."""
    unsure = [word for word in words if word_key(word) in UNCERTAIN]
    others = [word for word in words if word not in unsure]
    if not unsure or len(others) < 2:
        return ()
    are_numbers = all(map(is_whole, words))
    if are_numbers or set(others) == set(YES_NO) or (len(others) == 2 and positive_word(others[0], others[1])):
        num_rows = sum(word_key(text) in UNCERTAIN for text in texts_of(table))
        raise UserError(
            f"{called(table)} holds {listed(unsure)} in {number_of(num_rows, 'row')}, beside {listed(others)}: "
            "uncertain labels",
            where=table.where,
            do="Set on_uncertain=drop to leave these rows out"
            + (", or positive or negative to count them so" if len(others) == 2 else "")
            + ". If it is a class of its own, give it a name.",
        )
    remark = Remark(
        "uncertain_class",
        f"{called(table)} holds {listed(unsure)}, which is learned as a class like the others",
        "If it means that the class is not known, set on_uncertain=drop.",
        table.where,
        "warning",
    )
    return (remark,)


def _names(table: SampleTable, words: tuple[str, ...], class_of: dict[str, int]) -> tuple[str, ...]:
    """What the classes are called: the words of the table's class-name column where it has just one for each number."""
    if table.class_name_S is None or not all(map(is_whole, words)):
        return words
    number_S = np.array([class_of.get(word_key(text), -1) for text in texts_of(table)])
    named = [spellings(table.class_name_S[number_S == number].tolist()) for number in range(len(words))]
    keys = [key for of in named for key in of if key]
    is_one_each = all(len(set(of) - {""}) == 1 for of in named) and len(set(keys)) == len(words)
    return tuple(usual(of[key]) for of in named for key in of if key) if is_one_each else words


def _are_named(table: SampleTable) -> bool:
    """Whether a column of class names beside the targets has fewer names than rows: then numbers are classes."""
    return table.class_name_S is not None and 1 < len(set(table.class_name_S.tolist())) <= _most_classes(table)


def _most_classes(table: SampleTable) -> int:
    """More different words than this are no classes."""
    return min(MAX_CLASSES, max(len(table) // 2, 2))
