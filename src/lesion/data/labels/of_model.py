"""Labels of a model: what the target cells of another table say, by the classes that a model knows.

Training asks a table which classes there are (`labels.read_labels`); here they are given, and the positive class with
them, so a table with one class, or with the classes in another order, is read as the model's was. What it does not know
is refused.
"""

# S samples

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from lesion.data.labels.cells import Cells, ColumnCells, JoinedCells, WordCells, called, texts_of
from lesion.data.labels.encode import Labelled, Labels
from lesion.data.labels.joined_labels import separator_of
from lesion.data.labels.spelling import word_key
from lesion.data.labels.uncertain import BLANK, UNCERTAIN, Policy
from lesion.data.metadata import FALSE, TRUE, are_yes_and_no
from lesion.data.remark import Remark
from lesion.data.table import SampleTable
from lesion.errors import UserError
from lesion.targets import Target
from lesion.words import listed

ONE_BAR = "|"  # what joins labels where no cell of the table joins any


@dataclass(frozen=True)
class KnownTarget:
    """A model's target, the columns of its training table, and the training's settings of labels.

    `is_positive_set`: the user chose the positive class, so 1 need not stand for it.
    """

    target: Target
    columns: Sequence[str]
    is_positive_set: bool = False
    label_separator: str | None = "auto"
    on_uncertain: Policy = "error"


def label(
    table: SampleTable, known: KnownTarget, *, are_columns_set: bool, beside: Sequence[str] = ()
) -> tuple[Labelled, tuple[Remark, ...]]:
    """The targets of a table by a model's classes, and what was decided to read them.

    `are_columns_set`: the user named the target columns, so they stand for the model's in that order. `beside` are
    other tables there, which may be meant. Raises UserError for a table without targets, for other columns, and for
    words that the model does not know.
    """
    _refuse_unlabelled(table, known, beside)
    said: tuple[Remark, ...] = ()
    cells: Cells
    if len(known.columns) > 1:
        table, said = _with_columns(table, known, are_columns_set=are_columns_set)
        cells = ColumnCells(known.target.class_names)
    elif len(table.target_names) > 1:
        raise _other_columns(table, known)
    elif known.target.kind == "multilabel":
        cells = _joined(table, known)
    else:
        table, cells, said = _words(table, known)
    labels = Labels(known.target, cells, known.on_uncertain)
    labelled = Labelled(table, known.target, labels.encode(table))
    return labelled, (*said, *labels.remarks_of(table))


def _refuse_unlabelled(table: SampleTable, known: KnownTarget, beside: Sequence[str]) -> None:
    if table.targets is not None:
        return
    others = [] if table.others is None else list(map(str, table.others.columns))
    wanted = listed([f"'{name}'" for name in (table.columns.targets if table.columns else known.columns)])
    classes = listed(known.target.class_names, most=20)
    do = (
        f"If one of its columns {listed(others, most=20)} holds the classes {classes}, name it with --set "
        "target_column=NAME."
        if others
        else f"Give a table with a column of the classes {classes}, or a folder of images for each."
    )
    if beside:
        do = f"If another table there has the labels ({listed(beside, most=3)}), give its path, not the folder's. {do}"
    raise UserError(
        f"no labels: column {wanted} is not there, or is empty in all rows, and without labels nothing can be judged",
        where=table.where,
        do=f"{do} `lesion predict` answers images without labels.",
    )


def _with_columns(
    table: SampleTable, known: KnownTarget, *, are_columns_set: bool
) -> tuple[SampleTable, tuple[Remark, ...]]:
    """The table with its target columns called as the model's classes."""
    names = table.target_names
    if set(names) == set(known.columns):
        return table, ()
    if not are_columns_set or len(names) != len(known.columns):
        raise _other_columns(table, known)
    assert table.targets is not None
    pairs = listed([f"{name} as {meant}" for name, meant in zip(names, known.columns, strict=True)])
    remark = Remark("target_columns", f"the target columns are taken in the model's order: {pairs}", where=table.where)
    return replace(table, targets=table.targets.set_axis(list(known.columns), axis=1)), (remark,)


def _other_columns(table: SampleTable, known: KnownTarget) -> UserError:
    return UserError(
        f"the target columns are {listed(table.target_names)}, and the model was trained on {listed(known.columns)}",
        where=table.where,
        do="Rename them, or name as many columns in that order with --set target_column=A,B.",
    )


def _joined(table: SampleTable, known: KnownTarget) -> JoinedCells:
    """Cells that join labels, by the separator of training where one was set, else by the one that is found."""
    setting = known.label_separator
    if setting == "auto":
        setting = separator_of(texts_of(table), "auto", called=called(table), where=table.where)
    return JoinedCells(known.target.class_names, _classes(known.target.class_names), setting or ONE_BAR)


def _words(table: SampleTable, known: KnownTarget) -> tuple[SampleTable, WordCells, tuple[Remark, ...]]:
    """Cells of one word each. A column of class names is read instead of numbers that the model does not know, and of
    two classes 1 beside 0 is the positive one."""
    names, class_of = known.target.class_names, _classes(known.target.class_names)
    cells = WordCells(names, class_of)
    keys = _keys(texts_of(table))
    if keys <= set(class_of):
        return table, cells, ()
    assert table.targets is not None
    if table.class_name_S is not None and _are_names(table.class_name_S.tolist(), table, class_of):
        column = str(table.targets.columns[0])
        frame = pd.DataFrame({column: table.class_name_S})
        what = f"the classes are read from the column of class names, since {called(table)} holds other words"
        return replace(table, targets=frame), cells, (Remark("class_names", what, where=table.where),)
    is_yes_no = are_yes_and_no(keys) or (keys & TRUE and keys & FALSE and not keys & set(class_of))
    if known.target.kind != "binary" or not is_yes_no:
        return table, cells, ()  # reading them says what is not known, as it does of other words beside a yes and a no
    why = None
    if known.is_positive_set:
        why = f"its positive class '{names[1]}' was chosen by hand, so it is not certain that 1 stands for it"
    elif not keys & FALSE:  # of classes that are coded 1 and 2, 1 is the negative one
        why = f"without a 0 beside it, it is not certain that this stands for '{names[1]}'"
    if why is not None:
        raise UserError(
            f"{called(table)} holds {listed(sorted(keys))}, and the model knows {listed(names)}: {why}",
            where=table.where,
            do=f"Write {listed(names)} into the column.",
        )
    what = f"1 in {called(table)} is taken as the model's positive class '{names[1]}', and 0 as '{names[0]}'"
    remark = Remark("positive_class", what, f"Else write {listed(names)} there.", table.where, "warning")
    yes_no = {**dict.fromkeys(FALSE, 0), **dict.fromkeys(TRUE, 1)}
    return table, WordCells(names, {**class_of, **yes_no}), (remark,)


def _are_names(texts: Sequence[str], table: SampleTable, class_of: Mapping[str, int]) -> bool:
    """Whether a column of class names says what the words of the target column stand for: each for one known class."""
    pairs = {(word_key(word), word_key(name)) for word, name in zip(texts_of(table), texts, strict=True)}
    words, names = ({pair[side] for pair in pairs} for side in (0, 1))
    return names <= set(class_of) and len(pairs) == len(words) == len(names)


def _classes(names: Sequence[str]) -> Mapping[str, int]:
    """The class of each word by its key; yes, True and 1 are one word where the classes are a yes and a no."""
    found = {word_key(name): number for number, name in enumerate(names)}
    if len(names) == 2 and are_yes_and_no(found):
        for number, name in enumerate(names):
            found |= dict.fromkeys(TRUE if word_key(name) in TRUE else FALSE, number)
    return found


def _keys(texts: Sequence[str]) -> set[str]:
    return {word_key(text) for text in texts} - {*UNCERTAIN, BLANK}
