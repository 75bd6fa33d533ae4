"""Groups: the cells of a table's group column → the group of each row, and what was decided about them."""

# S samples

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesion.data.groups import is_rounded, normal_id, one_spelling, unknown_S
from lesion.data.numbers import is_number
from lesion.data.remark import Remark
from lesion.data.table import Columns
from lesion.errors import UserError
from lesion.words import listed

IN_TEST = "A patient of theirs may be in the training set too, and is not found. Fill the groups in."
IN_TRAINING = (
    "Images of one patient may then be in training and in validation. Fill the groups in, or set on_missing_group=drop "
    "to leave such rows out, or error to stop."
)


@dataclass(frozen=True)
class Groups:
    """The groups of a table's rows: none, unless the column says some."""

    group_S: NDArray[np.str_] | None = None  # one spelling for each group; of rows that are their own, their cell
    is_own_S: NDArray[np.bool_] | None = None  # True where no group is known
    is_refused_S: NDArray[np.bool_] | None = None  # those of them that on_missing_group=error refuses
    remarks: tuple[Remark, ...] = ()


def read_groups(text_S: NDArray[np.str_], columns: Columns, where: str, line_S: NDArray[np.int64]) -> Groups:
    """The groups of the cells of `columns.group`. A cell that is empty or a word for unknown is no group.

    A column without any group is as good as none. Raises UserError where groups are needed and there are none, and for
    rows without a group where on_missing_group=error.
    """
    is_unknown_S = unknown_S(text_S)
    num, column = int(is_unknown_S.sum()), columns.group
    said = f"column '{column}' is {_cells(text_S[is_unknown_S])}"
    policy = columns.on_missing_group
    if num == len(text_S):
        what = f"no row has a group: {said}"
        if not columns.is_lenient and (columns.is_group_needed or policy != "own_group"):
            do = "Fill the groups in, or set group_column to another column. If no two images are of the same patient, "
            do += "set split=stratified_kfold, and neither group_column nor on_missing_group."
            raise UserError(what, where=where, do=do)
        do = "Fill the groups in, or set group_column to a column of patients."
        return Groups(remarks=() if columns.is_lenient else (Remark("missing_groups", what, do, where, "warning"),))
    group_S, remarks = _spelt(text_S, f"ids of column '{column}'", where)
    if rounded := [text for text in np.unique(text_S).tolist() if is_rounded(text)]:
        what = f"a spreadsheet has rounded ids of column '{column}', and several patients may have become one: "
        do = "Take the ids from where the table was made, as text."
        remarks.append(Remark("rounded_groups", what + listed(rounded), do, where, "warning"))
    if not num:
        return Groups(group_S, remarks=tuple(remarks))
    if policy == "error" and not columns.is_lenient:
        lines = listed([str(line) for line in line_S[is_unknown_S].tolist()])
        raise UserError(
            f"{num} of {len(text_S)} rows have no group: {said}",
            where=f"{where}, line{'s' * (num > 1)} {lines}",
            do="Fill the groups in, or set on_missing_group=own_group to make each of these rows a group of its own, "
            "or drop to leave them out.",
        )
    if policy == "drop":
        what, do = f"{num} of {len(text_S)} rows have no group and are left out (on_missing_group=drop): {said}", ""
    else:
        what = f"{num} of {len(text_S)} rows have no group, and each is one of its own: {said}"
        do = IN_TRAINING if columns.are_targets_needed else IN_TEST
    numbers = [text for text in np.unique(text_S[is_unknown_S]).tolist() if is_number(text)]
    if numbers and policy != "error":
        do += f" If {numbers[0]} is one patient, write it as a word, such as P{numbers[0]}."
    if policy != "error":
        remarks.append(Remark("missing_groups", what, do.strip(), where, "warning"))
    return Groups(group_S, is_unknown_S, is_unknown_S if policy == "error" else None, tuple(remarks))


def read_folds(text_S: NDArray[np.str_], column: str, where: str) -> tuple[NDArray[np.str_], list[Remark]]:
    """The folds of the cells of a column, compared as ids are and without capitals, and what was decided."""
    fold_S, said = _spelt(text_S, f"folds of column '{column}'", where, form=lambda text: normal_id(text).casefold())
    plain = {normal_id(text) for text in set(fold_S.tolist())}
    if "-1" in plain and len(plain) > 1 and all(text.isdigit() for text in plain - {"-1"}):
        num = sum(normal_id(text) == "-1" for text in fold_S.tolist())
        what = f"fold -1 of column '{column}', {num} of {len(fold_S)} rows, is held out as the others are; in "
        what += "scikit-learn's PredefinedSplit -1 means that a row is never held out"
        do = "If these rows are for training only, write train there, and validation in the others; else ignore this."
        said.append(Remark("fold_minus_one", what, do, where, "warning"))
    return fold_S, said


def _spelt(
    text_S: NDArray[np.str_], called: str, where: str, *, form: Callable[[str], str] = normal_id
) -> tuple[NDArray[np.str_], list[Remark]]:
    one_S, joined = one_spelling(text_S, form=form)
    what = f"{called} that are written in several ways are one: "
    said = listed([" = ".join(map(_quoted, ways)) for ways in joined])
    return one_S, [Remark("several_spellings", what + said, where=where)] if joined else []


def _cells(text_N: NDArray[np.str_]) -> str:
    """What stands in the cells: "empty in 3 rows, 'unknown' in 1 row"."""
    counts = Counter(text_N.tolist())
    said = [f"{_quoted(text)} in {count} row{'s' * (count != 1)}" for text, count in counts.most_common()]
    return listed(said)


def _quoted(text: str) -> str:
    return f"'{text}'" if text else "empty"
