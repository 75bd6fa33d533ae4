"""Labels: target columns as written → the task type with its classes, and a numeric target for each row.

Sources of every format give target cells as text; this file alone decides what they mean, and `Labels.remarks` says it:
which class the probability is of, which spellings are one class, what is read as several labels.
"""

# S samples · K outputs · C classes, each with the word or column that stands for it

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.data.labels.cells import Cells, ColumnCells, JoinedCells, called, refuse_not_one, said_of_typos, texts_of
from lesion.data.labels.joined_labels import separator_of
from lesion.data.labels.new_classes import new_labels
from lesion.data.labels.positive_class import with_positive_class
from lesion.data.labels.task import TaskType, columns_of_classes, joined_labels, one_column
from lesion.data.labels.typos import Typo
from lesion.data.labels.uncertain import Policy, refuse_uncertain, said_of_uncertain
from lesion.data.remark import Remark
from lesion.data.table import SampleTable
from lesion.errors import UserError
from lesion.targets import Target
from lesion.words import listed, number_of


@dataclass(frozen=True)
class Labels:
    """The target, and how the cells of a table say its classes."""

    target: Target
    cells: Cells
    on_uncertain: Policy = "error"
    remarks: tuple[Remark, ...] = ()  # what was decided of the training table
    typos: Mapping[str, Typo] = field(default_factory=dict)  # its classes that are probably another one, by their word

    def encode(self, table: SampleTable) -> NDArray[np.float32]:
        """The targets [S, K] of a table: 0 or 1. Raises UserError for a cell that says none of the classes."""
        is_class_SC, kind = self.cells.read(table), self.target.kind
        is_uncertain_SC = np.isnan(is_class_SC)
        if is_uncertain_SC.any():
            is_droppable_only = kind == "multiclass" or isinstance(self.cells, JoinedCells)
            refuse_uncertain(table, is_uncertain_SC, self.on_uncertain, is_droppable_only=is_droppable_only)
            is_class_SC[is_uncertain_SC] = self.on_uncertain == "positive"
        if kind == "multiclass" or (kind == "binary" and isinstance(self.cells, ColumnCells)):
            refuse_not_one(table, is_class_SC)
        return is_class_SC[:, 1:] if kind == "binary" else is_class_SC

    def refuse_lacking(
        self, table: SampleTable, targets_SK: NDArray[np.float32], test_table: SampleTable | None = None
    ) -> None:
        """Raises UserError for classes and labels that no row has, or all have: no folds can help there.

        Not for those of columns that may say more once the empty cells of the table are filled in.
        """
        lacking = [name for name, is_S in self.target.classes(targets_SK).items() if not is_S.any()]
        lacking = [name for name in lacking if not table.unclear_targets & {name, name.removeprefix("not ")}]
        if not lacking:
            return
        num_rows, columns = len(table) + table.num_aside, isinstance(self.cells, ColumnCells)
        if columns:
            zeros = [name for name in self.target.class_names if name in lacking]
            ones = [name for name in self.target.class_names if f"not {name}" in lacking]
            tested = {} if test_table is None else new_labels(table, test_table, tuple(zeros))
            new = {name: f", while {number_of(num, 'row')} of the test set hold 1" for name, num in tested.items()}
            parts = [f"column '{name}' holds nothing but 0{new.get(name, '')}" for name in zeros]
            parts += [f"column '{name}' holds nothing but 1" for name in ones]
            what = (
                f"{listed(parts)} in all {num_rows} rows"
                if not tested
                else f"in all {num_rows} training rows {listed(parts)}"
            )
        else:
            what = f"none of the {num_rows} rows is of class {listed(lacking)}"
        do = "Add rows that differ, or take it out of target_column." if columns else "Add rows that differ."
        raise UserError(what, where=table.where, do=do)

    def remarks_of(self, table: SampleTable) -> tuple[Remark, ...]:
        """What the cells of another table are taken for: spellings, and labels that are uncertain or blank."""
        if table.targets is None:
            return ()
        return (*self.cells.remarks(table), *said_of_uncertain(table, self.on_uncertain))


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


def read_labels(
    table: SampleTable,
    *,
    positive_class: str | None = None,
    label_separator: str | None = "auto",
    task_type: TaskType = "auto",
    on_uncertain: Policy = "error",
) -> Labels:
    """The task type and classes of the target columns of `table`; the keywords are the user's settings.

    One column of 0 and 1, or of two words: binary; the positive class is 1, the word that is known as the finding
    (`positive_words`), or `positive_class`. More words: multiclass; words that are joined: multilabel. Several
    columns of 0 and 1: multilabel, or multiclass if each row has exactly one 1. Raises UserError for columns that are
    none of these, and says what they hold.
    """
    assert table.targets is not None  # a training table without targets was refused when it was read
    columns = tuple(map(str, table.targets.columns))
    if len(columns) > 1:
        target, cells, said = columns_of_classes(table, columns, task_type, on_uncertain)
    else:
        separator = separator_of(texts_of(table), label_separator, called=called(table), where=table.where)
        if separator is not None:
            target, cells, said = joined_labels(table, separator, is_told=label_separator != "auto")
        else:
            target, cells, said = one_column(table, on_uncertain)
    _refuse_no_text(target.class_names, table)
    target, cells, of_positive = with_positive_class(target, cells, positive_class, table)
    labels, typos = Labels(target, cells, on_uncertain), cells.typos(table)
    remarks = (*of_positive, *said, *labels.remarks_of(table), *said_of_typos(typos, table))
    return replace(labels, remarks=remarks, typos=typos)


def _refuse_no_text(names: tuple[str, ...], table: SampleTable) -> None:
    """Raises UserError for a class name that is not UTF-8, as a folder's may be: no file could hold the name."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"the name of class '{name}' is not UTF-8", where=table.where, do="Rename its folder."
            ) from error
