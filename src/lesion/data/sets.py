"""Sets: a column that says which rows are training, validation and test rows, and the sources that it makes of one.

Such a column is no column of folds: a network must not be trained on rows that are marked test.
"""

# S samples

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lesion.data.remark import Remark
from lesion.data.sources.folders import set_names
from lesion.data.sources.folders.set_names import SPLITS
from lesion.data.table import Rows, SampleTable, Source
from lesion.errors import UserError
from lesion.words import listed

SetName = Literal["training", "validation", "test"]
SETS: tuple[SetName, ...] = ("training", "validation", "test")
# As they are written in cells, without capitals, marks and the words of BESIDE: those of names, and a few more.
WORDS: Mapping[str, SetName] = {
    **{word: called for split, called in zip(SPLITS, SETS, strict=True) for word in set_names.WORDS[split]},
    **dict.fromkeys(("tr", "learn", "learning", "trainval", "trainvalid"), "training"),
    **dict.fromkeys(("validate", "vali", "devel", "tune", "tuning"), "validation"),
    **dict.fromkeys(("holdout", "hold out", "heldout", "held out"), "test"),
}
BESIDE = {"set", "sets", "split", "data", "dataset", "subset", "images", "samples", "rows", "phase", "is", "in", "flag"}
YES, NO = {"1", "1.0", "true", "t", "yes", "y"}, {"0", "0.0", "false", "f", "no", "n"}
MOST_SETS = 10  # different words in a column of sets
DO = "Write train, validation or test into each of its rows, or leave split unset: then folds are made of all rows."


def set_of(word: str) -> SetName | None:
    """The set that a word is a usual name of: Train, TRAINING, train_set, val, test-data; None if it is none."""
    words = re.sub(r"[\W_]+", " ", word.casefold()).split()
    rest = " ".join(one for one in words if one not in BESIDE)
    return WORDS.get(rest) or WORDS.get(re.sub(r"(set|data|split)$", "", rest))


def sets_of(column: str, text_S: NDArray[np.str_]) -> NDArray[np.str_] | None:
    """The set [S] of each row, as the column says; None if it speaks of something else, such as folds or centres.

    It holds names of sets, or yes and no under the name of a set (`is_valid`). Raises UserError where some of its words
    are names of sets and others are not, and where no row is for training, or all are.
    """
    words = sorted(set(text_S.tolist()))
    known = {word: set_of(word) for word in words}
    if {word.lower() for word in words} <= YES | NO:
        named = set_of(column)
        if named is None or len(words) < 2:
            return None
        if named == "training":
            raise UserError(f"column '{column}' does not say whether the other rows are validation or test rows", do=DO)
        known = {word: named if word.lower() in YES else "training" for word in words}
    elif not any(known.values()):
        return None
    if others := [word or "nothing" for word in words if known[word] is None]:
        names = [word for word in words if known[word] is not None]
        raise UserError(
            f"column '{column}' holds names of sets, {listed(names)}, and other words: {listed(others)}", do=DO
        )
    found = {name for name in known.values() if name is not None}
    if "training" not in found:
        raise UserError(f"column '{column}' marks no row as a training row: it holds {listed(words)}", do=DO)
    if found == {"training"}:
        raise UserError(f"column '{column}' marks all rows as training rows: it holds {listed(words)}", do=DO)
    return np.array([known[text] for text in text_S.tolist()], dtype=np.str_)


def divided(source: Source, column: str) -> tuple[Source, Source | None]:
    """The training and the test set of a source whose fold column names sets; any other source as it is, and None.

    The training set has its validation rows marked, if there are any. Raises UserError as `sets_of` does.
    """
    table = source.table()
    if table.fold_S is None:
        return source, None
    try:
        set_S = sets_of(column, table.fold_S)
    except UserError as error:
        raise UserError(error.what, where=table.where, do=error.do) from error
    if set_S is None:
        return source, None
    has_validation, has_test = (bool((set_S == name).any()) for name in ("validation", "test"))
    folds = "" if has_validation else "; the folds are made of the training rows, by group if there are groups"
    remark = Remark(
        "sets_by_column", f"split={column} divides the rows into {_counted(set_S)}{folds}", where=table.where
    )
    learned = np.flatnonzero(set_S != "test")
    training = replace(
        table.rows(learned),
        fold_S=None,
        has_sets=True,
        is_valid_S=set_S[learned] == "validation" if has_validation else None,
        remarks=(*table.remarks, remark),
    )
    rows = Rows(source, learned, table=training)
    if not has_test:
        return rows, None
    tested = np.flatnonzero(set_S == "test")
    where = f"{table.where}, test rows of '{column}'"
    return rows, Rows(
        source, tested, table=replace(table.rows(tested), fold_S=None, strays=(), remarks=(), where=where)
    )


def unused_sets(table: SampleTable) -> list[Remark]:
    """A warning for each column that divides the rows into sets, and that nothing uses."""
    remarks = []
    for name in [] if table.others is None else map(str, table.others.columns):
        assert table.others is not None
        text_S = table.others[name].fillna("").str.strip().to_numpy(dtype=np.str_)
        words = sorted(set(text_S.tolist()))
        if len(words) > MOST_SETS or (name.lower() in WORDS and not any(map(set_of, words))):
            continue  # `test` with 0 and 1 is as well a laboratory's test
        do = f"Set split={name} to use it."
        try:
            set_S = sets_of(name, text_S)
        except UserError:
            if len(words) < 2 or "training" not in (*map(set_of, words), set_of(name)):
                continue
            said = listed([word or "nothing" for word in words])
            do = f"Write train, validation or test into each of its rows, and set split={name}, to use it."
        else:
            if set_S is None:
                continue
            said = _counted(set_S)
        what = f"column '{name}' seems to divide the rows into sets ({said}), and is not used: all rows are trained on"
        remarks.append(Remark("unused_sets", what, do, table.where, "warning"))
    return remarks


def _counted(set_S: NDArray[np.str_]) -> str:
    """ "10 training rows, 4 validation rows"."""
    return ", ".join(f"{count} {name} rows" for name in SETS if (count := int((set_S == name).sum())))
