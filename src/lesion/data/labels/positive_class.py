"""Positive class: the one of two classes, or of many against the rest, that the probability is of. And how it is known.

It is the user's `positive_class`, or 1 beside 0, or the word that is known as the finding (`positive_words`). Never
the alphabet's choice: a pair that is not known is refused.
"""

from __future__ import annotations

from typing import Literal

from lesion.data.labels.cells import ONE_EACH, Cells, ColumnCells, WordCells, called, said_of_not_one
from lesion.data.labels.positive_words import is_healthy, positive_word
from lesion.data.labels.spelling import word_key
from lesion.data.labels.task import MOST_LISTED, YES_NO, Read
from lesion.data.remark import Remark
from lesion.data.table import SampleTable
from lesion.errors import UserError
from lesion.targets import Target
from lesion.words import listed, nearest, number_of


def with_positive_class(target: Target, cells: Cells, wanted: str | None, table: SampleTable) -> Read:
    """The same classes with the positive one: the last of two, or one of many against the rest; and what it is.

    Raises UserError if `wanted` is no class, and for two classes of which none is known as the positive one.
    """
    words, names = cells.words, target.class_names
    if wanted is not None:
        name = _class_called(wanted, target, cells, table)
        if target.kind == "multiclass":
            what = f"the probability is that of class '{name}', against the rest"
            return Target("multiclass", names, name), cells, (Remark("positive_class", what, where=table.where),)
    elif target.kind != "binary":
        return target, cells, ()
    else:
        name = _known(words, names, cells, table)
    positive = names.index(name)
    no, yes = names[1 - positive], names[positive]
    is_odd = wanted is None and is_healthy(yes) and not is_healthy(no)
    remark = Remark(
        "positive_class",
        f"the probability is that of class '{yes}'; '{no}' is the negative class"
        + (f", though '{yes}' sounds like the healthy state" if is_odd else ""),
        f"To ask for the other, set positive_class={no}.",
        table.where,
        "warning" if is_odd else "note",
    )
    return Target("binary", (no, yes)), _in_order(cells, 1 if positive else -1), (remark,)


def _known(words: tuple[str, ...], names: tuple[str, ...], cells: Cells, table: SampleTable) -> str:
    """The positive one of two classes that the user did not choose: 1, or the word that is known."""
    if set(words) == set(YES_NO):
        return names[words.index("1")]
    if (name := positive_word(names[0], names[1])) is not None:
        return name
    for typo in cells.typos(table).values():
        raise UserError(
            f"{called(table)} holds two classes that are probably one: {typo.told}",
            where=table.where,
            do=f"In the table {typo.remedy}, and add rows of another class. If they are two classes, set "
            f"positive_class={names[0]} or positive_class={names[1]}.",
        )
    ways = f"positive_class={names[0]} or positive_class={names[1]}: the probability is then that of this class"
    if isinstance(cells, ColumnCells):
        what, more = f"the columns {words[0]} and {words[1]} exclude each other", ". Or set task_type=multilabel"
    else:
        what, more = f"{called(table)} holds {listed(words)}", ""
    raise UserError(
        f"{what}, and it is unclear which of them is the positive class", where=table.where, do=f"Set {ways}{more}."
    )


def _if_nearly_one(cells: Cells, table: SampleTable) -> str:
    """What else to do where most rows have exactly one 1: the others keep the columns from being one question."""
    if not isinstance(cells, ColumnCells):
        return ""
    is_class_SC = cells.read(table)
    num_one = int((is_class_SC.sum(axis=1) == 1).sum())
    if num_one == len(table):
        return " Or leave task_type unset: each row has exactly one 1, which is one question."
    if num_one < len(table) / 2:
        return ""
    rows = f"{number_of(num_one, 'row')} of {len(table)} have exactly one 1, the others not"
    return f" Or if each row is of one class ({rows}: {said_of_not_one(table, is_class_SC)}): {ONE_EACH}"


def _class_called(wanted: str, target: Target, cells: Cells, table: SampleTable) -> str:
    """The name of the class that the user calls by its word or name, however spelt. Raises UserError if none is."""
    names = target.class_names
    if target.kind == "multilabel":
        raise UserError(
            f"positive_class={wanted} chooses one class of several, and here each of the labels "
            f"{listed(names, most=MOST_LISTED)} has a probability of its own",
            where=table.where,
            do=f"Leave it out, or set target_column to one column of classes.{_if_nearly_one(cells, table)}",
            kind="hyperparameters",
        )
    if wanted in names:
        return wanted
    of_word = {word_key(word): name for word, name in zip(cells.words, names, strict=True)}
    of_name = {word_key(name): name for name in names}
    if (name := {**of_word, **of_name}.get(word_key(wanted))) is not None:
        return name
    near = nearest(wanted, names)
    raise UserError(
        f"positive_class={wanted} is not one of the classes {listed(names, most=MOST_LISTED)}",
        where=table.where,
        do=f"Did you mean {near}?" if near else "Choose one of them, and set target_column to the fine classes.",
        kind="hyperparameters",
    )


def _in_order(cells: Cells, order: Literal[1, -1]) -> Cells:
    """The cells with their two classes in this order."""
    if order == 1:
        return cells
    if isinstance(cells, WordCells):
        return WordCells(cells.words[::-1], {key: 1 - number for key, number in cells.class_of.items()})
    return ColumnCells(cells.words[::-1])
