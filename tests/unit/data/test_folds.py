"""Folds: whole patients, the same folds for a shuffled table, and words for what cannot be split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import model_selection

from lesion.data.folds import NEVER, SPLITS, assign_folds, check_folds, each_fold, folds_from_column
from lesion.errors import UserError

many_rows = st.lists(st.tuples(st.integers(0, 15), st.booleans()), min_size=5, max_size=60)
GROUPED = ("group_kfold", "stratified_group_kfold")


def columns(rows: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Groups, targets and unique names."""
    group_S, target_S = (np.array(column) for column in zip(*rows, strict=True))
    return group_S.astype(str), target_S.astype(np.float32), np.array([f"{row:03d}" for row in range(len(rows))])


def can_be_split(group_S: np.ndarray, target_S: np.ndarray, num_folds: int) -> bool:
    return len(np.unique(group_S)) >= num_folds and np.bincount(target_S.astype(int), minlength=2).min() >= num_folds


@given(rows=many_rows, num_folds=st.integers(2, 5), split=st.sampled_from(GROUPED))
def test_a_patient_stays_in_one_fold(rows, num_folds, split):
    group_S, target_S, _ = columns(rows)
    assume(can_be_split(group_S, target_S, num_folds))
    fold_S = assign_folds(group_S, target_S, num_folds, seed=0, split=split)
    assert all(len(np.unique(fold_S[group_S == patient])) == 1 for patient in group_S)
    assert set(fold_S) <= set(range(num_folds))


@given(rows=many_rows, num_folds=st.integers(2, 5), split=st.sampled_from(SPLITS), shuffle=st.integers(0, 99))
def test_a_shuffled_table_has_the_same_folds(rows, num_folds, split, shuffle):
    group_S, target_S, name_S = columns(rows)
    assume(can_be_split(group_S, target_S, num_folds))
    order = np.random.default_rng(shuffle).permutation(len(rows))
    fold_S = assign_folds(group_S, target_S, num_folds, seed=3, split=split, name_S=name_S)
    again = assign_folds(group_S[order], target_S[order], num_folds, seed=3, split=split, name_S=name_S[order])
    np.testing.assert_array_equal(again, fold_S[order])


@given(rows=many_rows, num_folds=st.integers(2, 5), split=st.sampled_from(["kfold", "stratified_kfold", "group_kfold"]))
def test_every_fold_holds_rows(rows, num_folds, split):
    group_S, target_S, name_S = columns(rows)
    assume(can_be_split(group_S, target_S, num_folds))
    fold_S = assign_folds(group_S, target_S, num_folds, seed=0, split=split, name_S=name_S)
    assert set(fold_S) == set(range(num_folds))


@pytest.mark.parametrize("split", SPLITS)
def test_folds_are_those_of_scikit_learn_called_directly(split):
    rng = np.random.default_rng(5)
    group_S = np.sort(np.array([f"P{patient:02d}" for patient in rng.integers(0, 20, 90)]))
    target_S = (rng.random(90) < 0.3).astype(np.float32)
    name_S = np.array([f"{row:03d}" for row in range(90)])
    splitter = {
        "group_kfold": model_selection.GroupKFold(4),
        "stratified_group_kfold": model_selection.StratifiedGroupKFold(4, shuffle=True, random_state=7),
        "kfold": model_selection.KFold(4, shuffle=True, random_state=7),
        "stratified_kfold": model_selection.StratifiedKFold(4, shuffle=True, random_state=7),
    }[split]
    fold_S = assign_folds(group_S, target_S, 4, seed=7, split=split, name_S=name_S)
    groups = group_S if split in GROUPED else None
    for fold, (_, held) in enumerate(splitter.split(name_S, target_S.astype(int), groups)):
        np.testing.assert_array_equal(np.flatnonzero(fold_S == fold), held)


def test_another_seed_deals_other_folds_where_the_split_takes_one():
    _, target_S, name_S = columns([(0, row % 2 == 0) for row in range(40)])
    folds = [assign_folds(None, target_S, 4, seed=seed, split="kfold", name_S=name_S) for seed in (0, 1)]
    assert (folds[0] != folds[1]).any()


def test_too_few_patients_are_refused_in_words():
    with pytest.raises(UserError, match=r"5 folds cannot be made from 3 groups.*folds to at most 3"):
        assign_folds(np.array(["a", "b", "c", "c", "c", "c"]), np.zeros(6, np.float32), 5, seed=0)


def test_too_few_rows_are_refused_in_words():
    with pytest.raises(UserError, match="5 folds cannot be made from 3 rows"):
        assign_folds(None, np.zeros(3, np.float32), 5, seed=0, split="kfold", name_S=np.array(["a", "b", "c"]))


@pytest.mark.parametrize("split", ["stratified_kfold", "stratified_group_kfold"])
def test_too_few_rows_of_a_class_are_refused_in_words(split):
    target_S = np.array([1, 1, 0, 0, 0, 0, 0, 0], np.float32)
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
    assert folds_from_column(np.array(column)).tolist() == expected


def test_a_column_with_one_value_is_no_split():
    with pytest.raises(UserError, match="one value only, 4"):
        folds_from_column(np.array(["4", "4"]))


def test_a_fold_without_a_class_is_named_on_either_side():
    fold_S, target_S = np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0], np.float32)
    with pytest.raises(UserError) as caught:
        check_folds(fold_S, target_S, None)
    for sentence in (
        "fold 0 has no held-out row of class 0",
        "fold 0 has no training row of class 1",
        "fold 1 has no held-out row of class 1",
        "fold 1 has no training row of class 0",
    ):
        assert sentence in str(caught.value)


def test_a_patient_in_two_folds_is_named():
    with pytest.raises(UserError, match="fold 0 shares 1 groups with other rows, such as P1"):
        check_folds(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1], np.float32), np.array(["P0", "P1", "P1", "P2"]))


def test_good_folds_pass():
    check_folds(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1], np.float32), np.array(["P0", "P0", "P1", "P2"]))


def test_rows_that_are_never_held_out_are_in_no_fold():
    folds = list(each_fold(np.array([NEVER, 0, NEVER, 0])))
    assert [fold for fold, _ in folds] == [0]
    assert folds[0][1].tolist() == [False, True, False, True]
