"""Labels: target columns as written → the task type with its classes, and a numeric target for each row.

Sources of every format give target cells as text; this file alone decides what they mean.
"""

# S samples · K outputs

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.data.numbers import is_number
from lesion.data.table import SampleTable
from lesion.errors import UserError
from lesion.targets import Target
from lesion.words import listed, nearest

MAX_CLASSES = 1000
YES_NO = ("0", "1")


@dataclass(frozen=True)
class Labels:
    """The target, and the words that stand for its classes in a table ("0" and "1" in binary columns)."""

    target: Target
    words: tuple[str, ...]

    def encode(self, table: SampleTable) -> NDArray[np.float32]:
        """The targets [S, K] of a table: 0 or 1. Raises UserError for a word that is not one of the classes."""
        text_SK = _texts(table)
        number = dict(zip(self.words, range(len(self.words)), strict=True))
        if set(self.words) != set(YES_NO):
            number = {**dict(zip(self.target.class_names, range(len(self.words)), strict=True)), **number}
        unknown = sorted(set(text_SK.ravel().tolist()) - set(number))
        if unknown:
            raise UserError(
                f"{_cells(table)} {listed(unknown)}, not a class of the training set",
                where=table.where,
                do=f"Use {listed(self.words)}, as in the training table.",
            )
        class_SK = np.vectorize(number.__getitem__, otypes=[np.intp])(text_SK)
        if self.target.kind == "multiclass":
            return np.asarray(class_SK == np.arange(self.target.num_outputs), dtype=np.float32)
        return np.asarray(class_SK, dtype=np.float32)


@dataclass(frozen=True)
class Labelled:
    """A table with its target, and the numeric targets [S, K] of its rows."""

    table: SampleTable
    target: Target
    targets_SK: NDArray[np.float32]

    def counts(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> dict[str, Any]:
        """How many rows, classes among them, and groups a choice of rows holds."""
        targets_SK = self.targets_SK[rows]
        counts: dict[str, Any] = {"num_rows": len(targets_SK), "classes": self.target.counts(targets_SK)}
        if self.table.group_S is not None:
            counts["num_groups"] = len(np.unique(self.table.group_S[rows]))
        return counts


def read_labels(table: SampleTable, *, of_interest: str | None) -> Labels:
    """The task type and classes of the target columns of `table`.

    Several columns of 0 and 1: multilabel. One column of 0 and 1, or of two words: binary; the positive class is 1, the
    alphabetically later word, or the class of interest. More words: multiclass. Raises UserError for columns that are
    none of these, and says what they hold.
    """
    text_SK = _texts(table)
    columns = list(map(str, table.targets.columns)) if table.targets is not None else []
    labels = _multilabel(table, text_SK, columns) if len(columns) > 1 else _one_column(table, text_SK[:, 0])
    _refuse_no_text(labels.target.class_names, table)
    if of_interest is not None:
        labels = _asked_about(labels, of_interest, table)
    return labels


def _multilabel(table: SampleTable, text_SK: NDArray[np.str_], columns: list[str]) -> Labels:
    for text_S, column in zip(text_SK.T, columns, strict=True):
        if strange := sorted(set(text_S.tolist()) - set(YES_NO)):
            raise UserError(
                f"column '{column}' holds {listed(strange)}: with several target columns each is 0 or 1",
                where=table.where,
                do="Correct it, or set target_column to one column.",
            )
    return Labels(Target("multilabel", tuple(columns)), YES_NO)


def _one_column(table: SampleTable, text_S: NDArray[np.str_]) -> Labels:
    words = tuple(sorted(set(text_S.tolist()), key=lambda word: (not _is_whole(word), _order(word), word)))
    if len(words) == 1:
        words = YES_NO if words[0] in YES_NO else words  # check_folds reports which of the two is missing
    if any(is_number(word) and not _is_whole(word) for word in words):
        raise UserError(
            f"{_cells(table)} {listed(words)}: measurements, not classes",
            where=table.where,
            do="Set target_column to a column of classes, or cut the numbers into classes.",
        )
    if len(words) == 1:
        raise UserError(
            f"{_cells(table)} one value only, {words[0]}",
            where=table.where,
            do="Use 0 and 1, or two or more words, or set target_column.",
        )
    if len(words) > min(MAX_CLASSES, max(len(text_S) // 2, 2)):
        raise UserError(
            f"{_cells(table)} {len(words)} different values in {len(text_S)} rows: not a column of classes",
            where=table.where,
            do="Set target_column.",
        )
    if len(words) == 2 and _is_whole(words[0]) and words != YES_NO:
        raise UserError(
            f"{_cells(table)} {listed(words)}, and it is unclear which of them is the positive class",
            where=table.where,
            do="Use 0 and 1, or two words.",
        )
    names = _names(table, text_S, words)
    return Labels(Target("binary" if len(words) == 2 else "multiclass", names), words)


def _refuse_no_text(names: tuple[str, ...], table: SampleTable) -> None:
    """Raises UserError for a class name that is not UTF-8, as a folder's may be: no file could hold the name."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"the name of class '{name}' is not UTF-8", where=table.where, do="Rename its folder."
            ) from error


def _asked_about(labels: Labels, of_interest: str, table: SampleTable) -> Labels:
    """The same classes with a class of interest: the positive one of two, or one of many against the rest."""
    target = labels.target
    name = dict(zip(labels.words, target.class_names, strict=False)).get(of_interest, of_interest)
    if target.kind == "multilabel" or name not in target.class_names:
        near = nearest(of_interest, target.class_names)
        raise UserError(
            f"target_of_interest={of_interest} is not one of the classes {listed(target.class_names)}",
            where=table.where,
            do=f"Did you mean {near}?" if near else "Choose one of them, and set target_column to the fine classes.",
            kind="hyperparameters",
        )
    if target.kind == "multiclass":
        return Labels(Target("multiclass", target.class_names, name), labels.words)
    order = 1 if target.class_names.index(name) == 1 else -1
    return Labels(Target("binary", target.class_names[::order]), labels.words[::order])


def _names(table: SampleTable, text_S: NDArray[np.str_], words: tuple[str, ...]) -> tuple[str, ...]:
    """What the classes are called: the words of the table's class-name column where it has just one for each number."""
    if table.class_name_S is None or not all(map(_is_whole, words)):
        return words
    names = [set(table.class_name_S[text_S == word].tolist()) - {""} for word in words]
    flat = [name for group in names for name in group]
    is_one_each = all(len(group) == 1 for group in names) and len(set(flat)) == len(flat)
    return tuple(flat) if is_one_each else words


def _texts(table: SampleTable) -> NDArray[np.str_]:
    """The target cells [S, K], with 1.0 and 1 the same word."""
    assert table.targets is not None  # a training table without targets was refused when it was read
    texts = table.targets.to_numpy(dtype=np.str_)
    plain = {text: str(int(float(text))) if _is_whole(text) else text for text in set(texts.ravel().tolist())}
    return np.asarray(np.vectorize(plain.__getitem__, otypes=[np.str_])(texts), dtype=np.str_)


def _cells(table: SampleTable) -> str:
    assert table.targets is not None
    return f"column '{table.targets.columns[0]}' holds"


def _is_whole(text: str) -> bool:
    return is_number(text) and abs(float(text)) < 1e15 and float(text).is_integer()


def _order(word: str) -> float:
    return float(word) if _is_whole(word) else 0.0
