"""Folds: whole patients, the same folds for a shuffled table, and words for what cannot be split."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import model_selection

from lesion.data.folds import SPLITS, assign_folds, check_folds, folds_from_column
from lesion.errors import UserError

DEALT = tuple(split for split in SPLITS if split != "leave_one_group_out")
many_rows = st.lists(st.tuples(st.integers(0, 15), st.booleans()), min_size=5, max_size=60)
GROUPED = ("group_kfold", "stratified_group_kfold")


def columns(rows: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups, targets and unique names."""
    group_S, target_S = (np.array(column) for column in zip(*rows, strict=True))
    return group_S.astype(str), target_S.astype(int), np.array([f"{row:03d}" for row in range(len(rows))])


def can_be_split(group_S: np.ndarray, target_S: np.ndarray, num_folds: int) -> bool:
    return len(np.unique(group_S)) >= num_folds and np.bincount(target_S.astype(int), minlength=2).min() >= num_folds


@given(rows=many_rows, num_folds=st.integers(2, 5), split=st.sampled_from(GROUPED), repeats=st.integers(1, 3))
def test_a_patient_stays_in_one_fold(rows, num_folds, split, repeats):
    group_S, target_S, _ = columns(rows)
    assume(can_be_split(group_S, target_S, num_folds))
    valid_FS = assign_folds(group_S, target_S, num_folds, seed=0, split=split, repeats=repeats)
    assert valid_FS.shape == (num_folds * repeats, len(rows))
    assert all(len(np.unique(valid_FS[:, group_S == patient], axis=1).T) == 1 for patient in group_S)
    assert (valid_FS.reshape(repeats, num_folds, -1).sum(axis=1) == 1).all()  # each time once


@given(rows=many_rows, num_folds=st.integers(2, 5), split=st.sampled_from(DEALT), shuffle=st.integers(0, 99))
def test_a_shuffled_table_has_the_same_folds(rows, num_folds, split, shuffle):
    group_S, target_S, name_S = columns(rows)
    assume(can_be_split(group_S, target_S, num_folds))
    order = np.random.default_rng(shuffle).permutation(len(rows))
    valid_FS = assign_folds(group_S, target_S, num_folds, seed=3, split=split, repeats=2, name_S=name_S)
    again_FS = assign_folds(
        group_S[order], target_S[order], num_folds, seed=3, split=split, repeats=2, name_S=name_S[order]
    )
    np.testing.assert_array_equal(again_FS, valid_FS[:, order])


@given(rows=many_rows, num_folds=st.integers(2, 5), split=st.sampled_from(["kfold", "stratified_kfold", "group_kfold"]))
def test_every_fold_holds_rows(rows, num_folds, split):
    group_S, target_S, name_S = columns(rows)
    assume(can_be_split(group_S, target_S, num_folds))
    valid_FS = assign_folds(group_S, target_S, num_folds, seed=0, split=split, name_S=name_S)
    assert valid_FS.any(axis=1).all()


@pytest.mark.parametrize("split", DEALT)
def test_folds_are_those_of_scikit_learn_called_directly(split):
    rng = np.random.default_rng(5)
    group_S = np.sort(np.array([f"P{patient:02d}" for patient in rng.integers(0, 20, 90)]))
    target_S = (rng.random(90) < 0.3).astype(int)
    name_S = np.array([f"{row:03d}" for row in range(90)])
    splitter = {
        "group_kfold": model_selection.GroupKFold(4),
        "stratified_group_kfold": model_selection.StratifiedGroupKFold(4, shuffle=True, random_state=7),
        "kfold": model_selection.KFold(4, shuffle=True, random_state=7),
        "stratified_kfold": model_selection.StratifiedKFold(4, shuffle=True, random_state=7),
    }[split]
    valid_FS = assign_folds(group_S, target_S, 4, seed=7, split=split, name_S=name_S)
    groups = group_S if split in GROUPED else None
    for fold, (_, held) in enumerate(splitter.split(name_S, target_S.astype(int), groups)):
        np.testing.assert_array_equal(np.flatnonzero(valid_FS[fold]), held)


def test_another_seed_deals_other_folds_where_the_split_takes_one():
    _, target_S, name_S = columns([(0, row % 2 == 0) for row in range(40)])
    folds = [assign_folds(None, target_S, 4, seed=seed, split="kfold", name_S=name_S) for seed in (0, 1)]
    assert (folds[0] != folds[1]).any()


def test_too_few_patients_are_refused_in_words():
    with pytest.raises(UserError, match=r"5 folds cannot be made from 3 groups.*folds to at most 3"):
        assign_folds(np.array(["a", "b", "c", "c", "c", "c"]), np.zeros(6, int), 5, seed=0)


def test_too_few_rows_are_refused_in_words():
    with pytest.raises(UserError, match="5 folds cannot be made from 3 rows"):
        assign_folds(None, np.zeros(3, int), 5, seed=0, split="kfold", name_S=np.array(["a", "b", "c"]))


@pytest.mark.parametrize("split", ["stratified_kfold", "stratified_group_kfold"])
def test_too_few_rows_of_a_class_are_refused_in_words(split):
    target_S = np.array([1, 1, 0, 0, 0, 0, 0, 0])
    with pytest.raises(UserError, match="3 rows of each class, and one class has 2"):
        assign_folds(np.arange(8).astype(str), target_S, 3, seed=0, split=split, name_S=np.arange(8).astype(str))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (["0", "1", "2", "1"], [0, 1, 2, 1]),
        (["10", "9", "10", "2"], [2, 1, 2, 0]),  # as numbers, not as words
        (["site b", "site a", "site b", "site a"], [1, 0, 1, 0]),
        (["west", "7", "west", "-1"], [2, 1, 2, 0]),
    ],
)
def test_a_column_numbers_the_folds_in_its_own_order(column, expected):
    valid_FS = folds_from_column(np.array(column))
    assert valid_FS.argmax(axis=0).tolist() == expected and (valid_FS.sum(axis=0) == 1).all()


def test_a_column_with_one_value_is_no_split():
    with pytest.raises(UserError, match="1 different values, such as 4"):
        folds_from_column(np.array(["4", "4"]))


def test_repeats_are_dealt_otherwise_each_time_and_begin_with_the_unrepeated():
    group_S, target_S = np.array([f"P{row:02d}" for row in range(30)]), np.zeros(30, int)
    once = assign_folds(group_S, target_S, 3, seed=5)
    thrice = assign_folds(group_S, target_S, 3, seed=5, repeats=3).reshape(3, 3, 30)
    np.testing.assert_array_equal(thrice[0], once)
    assert (thrice[0] != thrice[1]).any() and (thrice[1] != thrice[2]).any()


def test_leaving_one_group_out_makes_a_fold_a_group():
    group_S = np.array(["b", "a", "b", "c"])
    valid_FS = assign_folds(group_S, np.zeros(4, int), 9, seed=0, split="leave_one_group_out")
    assert [set(group_S[valid_S]) for valid_S in valid_FS] == [{"a"}, {"b"}, {"c"}]


@pytest.mark.parametrize(
    ("num_groups", "options", "message"),
    [
        (101, {"split": "leave_one_group_out"}, "would train 101 networks.*Set split=group_kfold"),
        (1, {"split": "leave_one_group_out"}, "would train 1 networks"),
        (40, {"repeats": 4}, "4 repeats of 30 folds would train 120 networks"),
    ],
)
def test_what_cannot_be_dealt_is_refused_with_the_remedy(num_groups, options, message):
    group_S = np.array([f"P{row:03d}" for row in range(num_groups)])
    with pytest.raises(UserError, match=message):
        assign_folds(group_S, np.zeros(num_groups, int), 30, seed=0, **options)


HELD = np.array([[True, True, False, False], [False, False, True, True]])
ALIKE = {"no": np.array([True, False, True, False]), "yes": np.array([False, True, False, True])}
APART = {"no": np.array([False, False, True, True]), "yes": np.array([True, True, False, False])}


def check(*arguments: Any, split: str | None = "group_kfold") -> None:
    names = np.array([f"row{row}" for row in range(len(arguments[0][0]))])
    check_folds(*arguments, name_S=names, split=split, where="train.csv, column 'target'")


def test_a_fold_without_a_class_is_named_on_either_side():
    with pytest.raises(UserError, match=r"split=stratified_kfold or metric=log_loss") as caught:
        check(HELD, APART, APART, None)
    for sentence in (
        "fold 0 has no validation row of class no",
        "fold 0 has no training row of class yes",
        "fold 1 has no validation row of class yes",
        "fold 1 has no training row of class no",
    ):
        assert sentence in str(caught.value)


def test_a_held_out_row_of_each_class_is_asked_for_only_where_the_metric_needs_it():
    check(np.array([[True, False, False, False]]), ALIKE, {}, None)
    with pytest.raises(UserError, match="fold 0 has no validation row of class yes"):
        check(np.array([[True, False, False, False]]), ALIKE, ALIKE, None)


def test_a_patient_in_two_folds_is_named():
    with pytest.raises(UserError, match="fold 0 shares 1 group with other rows, such as P1"):
        check(HELD, ALIKE, ALIKE, np.array(["P0", "P1", "P1", "P2"]))


def test_a_class_of_a_row_too_few_is_named_first_with_that_row_and_what_can_be_done():
    third_S = np.arange(8) == 5
    classes = {"0": np.arange(8) % 2 == 0, "1": (np.arange(8) % 2 == 1) & ~third_S, "2": third_S}
    held = np.array([np.arange(8) < 4, np.arange(8) >= 4])
    with pytest.raises(UserError) as caught:
        check(held, classes, classes, np.arange(8).astype(str))
    told = str(caught.value)
    assert told.startswith(
        "class 2 has 1 row only, row5; fold 0 has no validation row of class 2; fold 1 has no training"
    )
    assert "(train.csv, column 'target'). Correct the targets or leave these rows out." in told


@pytest.mark.parametrize(("split", "advised"), [("group_kfold", True), (None, False), ("stratified_group_kfold", True)])
def test_fewer_folds_are_advised_only_where_there_can_be_fewer(split, advised):
    held = np.repeat(np.eye(3, dtype=bool), 2, axis=1)
    with pytest.raises(UserError) as caught:
        check(held, {"a": held.any(axis=0)}, {"a": held[0]}, np.arange(6).astype(str), split=split)
    assert ("fewer folds" in str(caught.value)) == advised
    assert ("split=" in str(caught.value)) == (split == "group_kfold")


def test_good_folds_pass():
    check(HELD, ALIKE, ALIKE, np.array(["P0", "P0", "P1", "P2"]))
