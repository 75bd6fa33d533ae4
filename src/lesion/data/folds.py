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
from lesion.settings import MAX_FOLDS

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
) -> Folds:
    """Validation masks [F, S] by scikit-learn's splitter of that name.

    Each row is a validation row once, or `repeats` times, each time with other rows. Rows are first put in the order of
    their groups (or of `name_S` where the split knows no groups), so a shuffled CSV gives the same folds. group_kfold
    balances the folds' sizes and takes the seed only from the second time on. Raises UserError where there are fewer
    groups, rows, or rows of a class than folds; `deal_folds` in fold_advice.py says why, and what can be done.
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
    if num_units < num_folds:
        units = "group" if has_groups else "row"
        raise UserError(
            f"{num_folds} folds cannot be made from {num_units} {units}{'s' * (num_units != 1)}",
            do=f"Set fewer folds, or add {units}s.",
        )
    if "stratified" in split:
        fewest = int(np.unique(class_S, return_counts=True)[1].min())
        if fewest < num_folds:
            raise UserError(
                f"{num_folds} stratified folds need {num_folds} rows of each class, and one class has {fewest}",
                do="Set fewer folds, or add rows of that class.",
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


def pooled_strata(class_S: NDArray[np.intp], num_folds: int) -> NDArray[np.intp]:
    """The strata [S] of a multilabel task, those with fewer rows than folds joined with the largest.

    Its strata are no classes: one may be the rows without any label. A splitter would refuse a stratum of one row, in
    which nothing is missing: `lacking` says of each label whether every fold has it.
    """
    values, number_S, counts = np.unique(class_S, return_inverse=True, return_counts=True)
    return np.asarray(np.where(counts[number_S] < num_folds, values[counts.argmax()], class_S), dtype=np.intp)


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
    """The validation masks [F, S] given by a validation set or a fold column; None if a splitter makes them.

    Raises UserError for a column of too few or too many values.
    """
    if table.is_valid_S is not None:
        return table.is_valid_S[None]
    return None if table.fold_S is None else folds_from_column(table.fold_S)


def training_masks(valid: Folds, held_back_S: NDArray[np.bool_] | None) -> Folds:
    """The rows that are trained on, of each fold [F, S] or of one [S]: those that it does not hold out, without those
    that are held back from all folds."""
    return ~valid if held_back_S is None else ~(valid | held_back_S)


def lacking(
    valid_FS: Folds, learned: Classes, judged: Classes, *, is_last_held_back: bool = False
) -> list[tuple[int, str, str]]:
    """The fold, the side ("validation" or "training") and the class, for each class that a side lacks.

    Training rows need all `learned` classes, validation rows all `judged` ones: none, if the metric that selects the
    best epoch is defined without them. With `is_last_held_back` no fold trains on the validation rows of the last.
    """
    training_FS = training_masks(valid_FS, valid_FS[-1] if is_last_held_back else None)
    return [
        (fold, side, name)
        for fold, (valid_S, training_S) in enumerate(zip(valid_FS, training_FS, strict=True))
        for side, rows_S, classes in (("validation", valid_S, judged), ("training", training_S, learned))
        for name, is_class_S in classes.items()
        if not (rows_S & is_class_S).any()
    ]


def groups_on_both_sides(valid_FS: Folds, group_S: NDArray[np.str_]) -> NDArray[np.bool_]:
    """The rows [S] whose group has a validation row and a training row of one fold."""
    groups_G, number_S = np.unique(group_S, return_inverse=True)
    is_shared_G = np.zeros(len(groups_G), dtype=bool)
    for valid_S in valid_FS:
        held_G, learned_G = (np.bincount(number_S[side_S], minlength=len(groups_G)) for side_S in (valid_S, ~valid_S))
        is_shared_G |= (held_G > 0) & (learned_G > 0)
    return np.asarray(is_shared_G[number_S], dtype=bool)


def _splitter(split: str, num_folds: int, *, seed: int, is_first: bool) -> Any:
    from sklearn.model_selection import GroupKFold, KFold, LeaveOneGroupOut, StratifiedGroupKFold, StratifiedKFold

    if split == "group_kfold":
        return GroupKFold(num_folds) if is_first else GroupKFold(num_folds, shuffle=True, random_state=seed)
    if split == "leave_one_group_out":
        return LeaveOneGroupOut()
    seeded = {"stratified_group_kfold": StratifiedGroupKFold, "kfold": KFold, "stratified_kfold": StratifiedKFold}
    return seeded[split](num_folds, shuffle=True, random_state=seed)
