"""Folds: which rows are validation rows of which fold. One mask per fold; knows nothing of pixels."""

# S samples · F folds

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.data.numbers import is_number
from lesion.data.table import SampleTable
from lesion.errors import UserError
from lesion.words import listed

SPLITS = ("group_kfold", "stratified_group_kfold", "kfold", "stratified_kfold", "leave_one_group_out")
MAX_FOLDS = 100  # each is a network to train, store and predict with

Folds = NDArray[np.bool_]  # [F, S]: True where the fold holds the row out
Classes = Mapping[str, NDArray[np.bool_]]  # a mask [S] of the rows of each class


def assign_folds(
    group_S: NDArray[np.str_] | None,
    class_S: NDArray[np.intp],
    num_folds: int,
    *,
    seed: int,
    split: str = "group_kfold",
    repeats: int = 1,
    name_S: NDArray[np.str_] | None = None,
    where: str | None = None,
) -> Folds:
    """Validation masks [F, S] by scikit-learn's splitter of that name.

    Each row is a validation row once, or `repeats` times, each time with other rows. Rows are first put in the order of
    their groups (or of `name_S` where the split knows no groups), so a shuffled CSV gives the same folds. group_kfold
    balances the folds' sizes and takes the seed only from the second time on. Raises UserError where there are fewer
    groups, rows, or rows of a class than folds.
    """
    has_groups = "group" in split
    key_S = group_S if has_groups else name_S
    num_units = len(class_S) if key_S is None else len(np.unique(key_S))
    if split == "leave_one_group_out":
        num_folds = num_units
        if not 2 <= num_units <= MAX_FOLDS:
            raise UserError(
                f"leave_one_group_out would train {num_units:,} networks, one per group; it must be 2 to {MAX_FOLDS}",
                do="Set split=group_kfold.",
            )
    if num_folds * repeats > MAX_FOLDS:
        raise UserError(
            f"{repeats} repeats of {num_folds} folds would train {num_folds * repeats} networks",
            do=f"Set folds and repeats to at most {MAX_FOLDS} together.",
        )
    if num_units < num_folds:
        units = "groups" if has_groups else "rows"
        raise UserError(
            f"{num_folds} folds cannot be made from {num_units} {units}",
            where=where,
            do=f"Set folds to at most {num_units}, or add {units}.",
        )
    if "stratified" in split:
        classes, counts = np.unique(class_S, return_counts=True)
        fewest = int(counts.min())
        if fewest < num_folds:
            named = "" if name_S is None else f": {listed(name_S[class_S == classes[counts.argmin()]].tolist())}"
            raise UserError(
                f"{num_folds} stratified folds need {num_folds} rows of each class, and one class has {fewest}{named}",
                where=where,
                do=f"Set folds to at most {fewest}, or add rows of that class."
                if fewest > 1
                else "Add rows of that class, or correct the targets.",
            )
    order = np.arange(len(class_S)) if key_S is None else np.argsort(key_S, kind="stable")
    groups = None if not has_groups or group_S is None else group_S[order]
    valid_FS = np.zeros((num_folds * repeats, len(class_S)), dtype=bool)
    for time in range(repeats):
        splits = _splitter(split, num_folds, seed=seed + time, is_first=time == 0).split(order, class_S[order], groups)
        for fold, (_, held) in enumerate(splits):
            valid_FS[time * num_folds + fold, order[held]] = True
    if not valid_FS.any(axis=1).all():
        raise UserError(f"{split} left a fold of {num_folds} empty", do="Set fewer folds, or another split.")
    return valid_FS


def folds_from_column(text_S: NDArray[np.str_]) -> Folds:
    """Folds numbered in the order of a column's values: 0, 1, 2 as they are, or words in alphabetical order."""
    values = sorted(
        set(text_S.tolist()), key=lambda value: (0, float(value), value) if is_number(value) else (1, 0.0, value)
    )
    if not 2 <= len(values) <= MAX_FOLDS:
        raise UserError(
            f"the fold column holds {len(values)} different values, such as {values[0]}; it must be 2 to {MAX_FOLDS}",
            do="Name a column of folds, or set split=group_kfold.",
        )
    return np.array([text_S == value for value in values])


def given_folds(table: SampleTable) -> Folds | None:
    """The validation masks [F, S] given by a validation channel or a fold column; None if a splitter makes them.

    Raises UserError for a column of too few or too many values.
    """
    if table.is_valid_S is not None:
        return table.is_valid_S[None]
    return None if table.fold_S is None else folds_from_column(table.fold_S)


def check_folds(
    valid_FS: Folds,
    learned: Classes,
    judged: Classes,
    group_S: NDArray[np.str_] | None,
    *,
    name_S: NDArray[np.str_],
    split: str | None,
    where: str,
) -> None:
    """Raises one UserError that names each fold which lacks a class in training or validation, or splits a group.

    Training rows need all `learned` classes, validation rows all `judged` ones: none, if the metric that selects the
    best epoch is defined without them. A class of fewer rows than folds comes first, with its rows' names: it is the
    likely cause. `split` is how the folds were made; None: a column or a validation channel gives them.
    """
    problems = []
    rare: dict[str, NDArray[np.bool_]] = {}
    for fold, valid_S in enumerate(valid_FS):
        for side, rows_S, classes in (("validation", valid_S, judged), ("training", ~valid_S, learned)):
            lacking = [name for name, is_class_S in classes.items() if not (rows_S & is_class_S).any()]
            problems += [f"fold {fold} has no {side} row of class {name}" for name in lacking]
            rare |= {name: classes[name] for name in lacking if 0 < classes[name].sum() < max(len(valid_FS), 2)}
        if group_S is not None:
            shared = np.intersect1d(group_S[valid_S], group_S[~valid_S])
            if len(shared):
                groups = "1 group" if len(shared) == 1 else f"{len(shared)} groups"
                problems.append(f"fold {fold} shares {groups} with other rows, such as {shared[0]}")
    if problems:
        causes = []
        for name, is_class_S in rare.items():
            rows = name_S[is_class_S].tolist()
            causes.append(f"class {name} has {len(rows)} row{'s' * (len(rows) != 1)} only, {listed(rows)}")
        ways = []
        is_lone = any(is_class_S.sum() == 1 for is_class_S in rare.values())  # then no split and no metric helps
        if is_lone:
            split, judged = None, {}
        if split not in {None, "leave_one_group_out"} and len(valid_FS) > 2:
            ways.append("fewer folds")
        if split is not None and not split.startswith("stratified"):
            ways.append("split=stratified_kfold" if group_S is None else "split=stratified_group_kfold")
        if judged:
            ways.append("metric=log_loss, which does not need every class in validation")
        correct = "correct the targets or leave these rows out" if rare else "correct the groups, folds or targets"
        do = f"{correct}, or set {' or '.join(ways)}." if ways else f"{correct}."
        raise UserError(listed([*causes, *problems], most=6, separator="; "), where=where, do=do[0].upper() + do[1:])


def _splitter(split: str, num_folds: int, *, seed: int, is_first: bool) -> Any:
    from sklearn.model_selection import GroupKFold, KFold, LeaveOneGroupOut, StratifiedGroupKFold, StratifiedKFold

    if split == "group_kfold":
        return GroupKFold(num_folds) if is_first else GroupKFold(num_folds, shuffle=True, random_state=seed)
    if split == "leave_one_group_out":
        return LeaveOneGroupOut()
    seeded = {"stratified_group_kfold": StratifiedGroupKFold, "kfold": KFold, "stratified_kfold": StratifiedKFold}
    return seeded[split](num_folds, shuffle=True, random_state=seed)
