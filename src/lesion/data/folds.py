"""Folds: which rows are held back. One integer a row; knows nothing of pixels."""

# S samples

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.errors import UserError

SPLITS = ("group_kfold", "stratified_group_kfold", "kfold", "stratified_kfold")
NEVER = -1  # the fold of rows that are trained on and never held out

Folds = NDArray[np.int64]


def assign_folds(
    group_S: NDArray[np.str_] | None,
    target_S: NDArray[np.float32],
    num_folds: int,
    *,
    seed: int,
    split: str = "group_kfold",
    name_S: NDArray[np.str_] | None = None,
) -> Folds:
    """The fold in [0, num_folds) of each row, by scikit-learn's splitter of that name.

    Rows are first put in the order of their groups (or of `name_S` where the split knows no groups), so a shuffled CSV
    gives the same folds. group_kfold balances the folds' sizes and takes no seed. Raises UserError where there are
    fewer groups or
    rows than folds.
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    splitters: dict[str, Any] = {
        "group_kfold": lambda: GroupKFold(num_folds),
        "stratified_group_kfold": lambda: StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed),
        "kfold": lambda: KFold(num_folds, shuffle=True, random_state=seed),
        "stratified_kfold": lambda: StratifiedKFold(num_folds, shuffle=True, random_state=seed),
    }
    has_groups = "group" in split
    key_S = group_S if has_groups else name_S
    num_units = len(target_S) if key_S is None else len(np.unique(key_S))
    if num_units < num_folds:
        units = "groups" if has_groups else "rows"
        raise UserError(
            f"{num_folds} folds cannot be made from {num_units} {units}",
            do=f"Set folds to at most {num_units}, or add {units}.",
        )
    if "stratified" in split:
        fewest = int(np.bincount(target_S.astype(int), minlength=2).min())
        if fewest < num_folds:
            raise UserError(
                f"{num_folds} stratified folds need {num_folds} rows of each class, and one class has {fewest}",
                do=f"Set folds to at most {max(fewest, 2)}, or add rows of that class.",
            )
    order = np.arange(len(target_S)) if key_S is None else np.argsort(key_S, kind="stable")
    groups = None if not has_groups or group_S is None else group_S[order]
    fold_S = np.full(len(target_S), NEVER)
    for fold, (_, held) in enumerate(splitters[split]().split(order, target_S[order].astype(int), groups)):
        fold_S[order[held]] = fold
    if len(np.unique(fold_S)) < num_folds:
        raise UserError(f"{split} left a fold of {num_folds} empty", do="Set fewer folds, or another split.")
    return fold_S


def folds_from_column(text_S: NDArray[np.str_]) -> Folds:
    """Folds numbered in the order of a column's values: 0, 1, 2 as they are, or words in alphabetical order."""
    values = sorted(
        set(text_S.tolist()), key=lambda value: (0, float(value), value) if _is_number(value) else (1, 0.0, value)
    )
    if len(values) < 2:
        raise UserError(
            f"the fold column holds one value only, {values[0]}",
            do="Give at least two folds, or set split=group_kfold.",
        )
    number = {value: fold for fold, value in enumerate(values)}
    return np.array([number[value] for value in text_S.tolist()])


def check_folds(fold_S: Folds, target_S: NDArray[np.float32], group_S: NDArray[np.str_] | None) -> None:
    """Raises one UserError that names each fold which lacks a class on either side, or shares a group with another."""
    problems = []
    for fold, held_S in each_fold(fold_S):
        for side, rows in (("held-out", held_S), ("training", ~held_S)):
            classes = np.unique(target_S[rows])
            problems += [f"fold {fold} has no {side} row of class {value}" for value in (0, 1) if value not in classes]
        if group_S is not None:
            shared = np.intersect1d(group_S[held_S], group_S[~held_S])
            if len(shared):
                problems.append(f"fold {fold} shares {len(shared)} groups with other rows, such as {shared[0]}")
    if problems:
        raise UserError(
            "; ".join(problems[:6]),
            do="Set fewer folds or split=stratified_group_kfold, or correct the groups, folds or validation rows.",
        )


def each_fold(fold_S: Folds) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Each fold's number with the mask of the rows it holds out."""
    for fold in range(int(fold_S.max()) + 1):
        yield fold, fold_S == fold


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
