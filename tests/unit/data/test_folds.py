"""Folds: whole patients, the same folds for a shuffled table, and words for what cannot be split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn import model_selection

from lesion.data.folds import assign_folds, folds_from_column, groups_on_both_sides, lacking, pooled_strata
from lesion.errors import UserError
from lesion.settings import SPLITS

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
    with pytest.raises(UserError, match="5 folds cannot be made from 3 groups"):
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
    ],
)
def test_what_cannot_be_dealt_is_refused_with_the_remedy(num_groups, options, message):
    group_S = np.array([f"P{row:03d}" for row in range(num_groups)])
    with pytest.raises(UserError, match=message):
        assign_folds(group_S, np.zeros(num_groups, int), 30, seed=0, **options)


HELD = np.array([[True, True, False, False], [False, False, True, True]])
ALIKE = {"no": np.array([True, False, True, False]), "yes": np.array([False, True, False, True])}
APART = {"no": np.array([False, False, True, True]), "yes": np.array([True, True, False, False])}


def test_a_fold_without_a_class_is_named_on_either_side():
    assert lacking(HELD, ALIKE, ALIKE) == []
    assert lacking(HELD, APART, APART) == [
        *((0, "validation", "no"), (0, "training", "yes"), (1, "validation", "yes"), (1, "training", "no"))
    ]


def test_a_held_out_row_of_each_class_is_asked_for_only_where_the_metric_needs_it():
    one = np.array([[True, False, False, False]])
    assert lacking(one, ALIKE, {}) == [] and lacking(one, ALIKE, ALIKE) == [(0, "validation", "yes")]


def test_a_group_with_rows_on_both_sides_of_any_fold_is_found():
    group_S = np.array(["P0", "P1", "P1", "P2"])
    assert groups_on_both_sides(HELD, group_S).tolist() == [False, True, True, False]
    assert not groups_on_both_sides(HELD, np.array(["P0", "P0", "P1", "P2"])).any()
    repeated = np.concatenate([HELD, [[True, False, True, False], [False, True, False, True]]])
    assert groups_on_both_sides(repeated, np.array(["P0", "P0", "P1", "P2"])).tolist() == [True, True, False, False]


def test_a_stratum_of_fewer_rows_than_folds_is_joined_with_the_largest():
    class_S = np.array([0, 0, 0, 1, 1, 1, 1, 2, 3, 3])
    assert pooled_strata(class_S, 3).tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 1, 1]
    assert pooled_strata(class_S, 1).tolist() == class_S.tolist()
