"""Leaks: what the policy leaves shares nothing with what judges it, and no more is taken away than that needs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from lesion.check.duplicates import Pair
from lesion.check.leaks import LeakRules, copy_leaks, group_leaks
from lesion.data.table import SampleTable


def table(groups: list[str] | None, targets: list[str] | None = None, *, num: int = 0) -> SampleTable:
    num = num or len(groups or [])
    return SampleTable(
        name_S=np.array([f"row{index}" for index in range(num)]),
        metadata=pd.DataFrame(index=range(num)),
        targets=None if targets is None else pd.DataFrame({"target": targets}),
        group_S=None if groups is None else np.array(groups),
    )


def near(*pairs: tuple[int, int]) -> list[Pair]:
    return [Pair(a, b, "near", 0.9) for a, b in pairs]


def test_the_groups_of_copies_are_merged_under_the_first_name_also_in_a_chain():
    resolved = copy_leaks(table(["d", "c", "b", "a", "e"]), None, near((0, 1), (1, 2)), LeakRules("merge_groups", True))
    assert resolved.group_S is not None and resolved.group_S.tolist() == ["b", "b", "b", "a", "e"]
    assert resolved.keep_S.all()


def test_of_copies_in_a_fold_column_the_last_folds_stays():
    folds = np.array([[True, False, False, True], [False, True, False, False], [False, False, True, False]])
    rules = LeakRules("drop", True, folds)
    resolved = copy_leaks(table(["a", "b", "c", "d"]), None, near((0, 1), (0, 2)), rules)
    assert resolved.keep_S.tolist() == [False, False, True, True]


def test_a_training_row_whose_copy_is_in_the_test_set_goes_with_its_own_copies():
    resolved = copy_leaks(table(["a", "a", "b"]), table(["t"]), near((0, 1), (0, 3)), LeakRules("drop", True))
    assert resolved.keep_S.tolist() == [False, False, True]


def test_a_pair_within_the_test_set_is_no_matter():
    resolved = copy_leaks(table(["a"]), table(["t", "u"]), near((1, 2)), LeakRules("error", True))
    assert resolved.findings == []


def test_copies_of_one_target_do_not_contradict_each_other():
    pairs = near((0, 1), (1, 2))
    resolved = copy_leaks(table(["a", "a", "a"], ["0", "0", "1"]), None, pairs, LeakRules("warn", True))
    [finding] = [finding for finding in resolved.findings if finding.name == "contradicting_copies"]
    assert [row.name for row in finding.rows] == ["row1", "row2"]


@given(data=st.data(), num=st.integers(2, 12), has_groups=st.booleans(), has_folds=st.booleans())
def test_after_dropping_no_copies_are_apart_and_of_each_picture_something_is_left(data, num, has_groups, has_folds):
    # Pictures are numbers; equal numbers are copies, paired with the first of them as the search does.
    picture_S = data.draw(st.lists(st.integers(0, 5), min_size=num, max_size=num))
    groups = data.draw(st.lists(st.sampled_from("abc"), min_size=num, max_size=num)) if has_groups else None
    fold_S = np.array(data.draw(st.lists(st.integers(0, 2), min_size=num, max_size=num)))
    folds = np.array([fold_S == fold for fold in range(3)]) if has_folds else None
    pairs = near(
        *((picture_S.index(picture), b) for b, picture in enumerate(picture_S) if picture_S.index(picture) < b)
    )
    resolved = copy_leaks(table(groups, num=num), None, pairs, LeakRules("drop", True, folds))
    apart_S = fold_S if has_folds else groups if groups is not None else range(num)
    left = [index for index in range(num) if resolved.keep_S[index]]
    for a in left:
        for b in left:
            assert picture_S[a] != picture_S[b] or apart_S[a] == apart_S[b]
    assert {picture_S[index] for index in left} == set(picture_S)
    is_leaking = len(left) < num
    assert is_leaking == any(finding.name == "copies_across_folds" for finding in resolved.findings)


@given(
    group_S=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=15),
    valid_S=st.lists(st.booleans(), min_size=15, max_size=15),
    test_groups=st.lists(st.sampled_from("abcdef"), max_size=3),
)
def test_after_dropping_no_group_is_on_two_sides(group_S, valid_S, test_groups):
    valid_FS = np.array([valid_S[: len(group_S)]])
    test = table(test_groups) if test_groups else None
    keep_S = group_leaks(table(group_S), test, LeakRules("drop", True, valid_FS)).keep_S
    sides = [{group for group, held, keep in zip(group_S, valid_FS[0], keep_S, strict=True) if keep and held == side}
             for side in (True, False)]  # fmt: skip
    assert not sides[0] & sides[1] and not (sides[0] | sides[1]) & set(test_groups)
    stays = {group for group in group_S if group not in test_groups}
    assert sides[0] | sides[1] == stays


def test_the_rows_that_a_validation_channel_holds_out_stay():
    valid_FS = np.array([[False, False, True, True]])
    resolved = group_leaks(table(["a", "b", "b", "c"]), None, LeakRules("drop", True, valid_FS))
    assert resolved.keep_S.tolist() == [True, False, True, True]


def test_folds_that_are_given_are_judged_whatever_split_says():
    valid_FS = np.array([[False, True]])
    [finding] = group_leaks(table(["a", "a"]), None, LeakRules("error", False, valid_FS)).findings
    assert finding.name == "group_on_both_sides"


def test_one_patient_is_found_in_two_sets_however_the_id_is_written():
    resolved = group_leaks(table(["1", "2", "P1"]), table(["1.0", "p1"]), LeakRules("drop", True))
    assert resolved.keep_S.tolist() == [False, True, True]


def test_rows_without_a_group_are_no_patient_of_another_set():
    """Their groups are called as their images, which may be called the same in two folders."""
    training, test = (replace(table(["row0", "b"]), is_own_S=np.array([True, False])) for _ in range(2))
    assert group_leaks(training, replace(test, group_S=np.array(["row0", "c"])), LeakRules("drop", True)).keep_S.all()


@given(
    pairs=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 104)), max_size=4),
    test_groups=st.lists(st.integers(0, 60), min_size=5, max_size=5),
    keeps_groups=st.booleans(),
    has_validation=st.booleans(),
)
def test_after_auto_nothing_is_shared_across_or_it_refuses_and_changes_nothing(
    pairs, test_groups, keeps_groups, has_validation
):
    """100 rows of 50 groups and five test rows, the last 20 training rows a validation channel's, and some copies."""
    test = table([f"g{group:02d}" for group in test_groups])
    training = table([f"g{row // 2:02d}" for row in range(100)])
    valid_FS = (np.arange(100) >= 80)[None] if has_validation else None
    training = replace(training, is_valid_S=None if valid_FS is None else valid_FS[0])
    rules = LeakRules("auto", keeps_groups, valid_FS)
    shared = group_leaks(training, test, rules)
    # The search for copies, as in run.py, sees the rows that are left.
    links = near(*((a, b) for a, b in pairs if a < b and shared.keep_S[a] and (b > 99 or shared.keep_S[b])))
    copies = copy_leaks(training, test, links, rules, concerned_S=~shared.keep_S)
    keep_S = shared.keep_S & copies.keep_S
    group_S = training.group_S if copies.group_S is None else copies.group_S
    for resolved, found in ((shared, shared.findings), (copies, copies.findings)):
        if any(finding.level == "error" for finding in found):
            assert resolved.keep_S.all() and resolved.group_S is None
            assert all("5% at most" in finding.do for finding in found if finding.level == "error")
    if any(finding.level == "error" for finding in [*shared.findings, *copies.findings]):
        return
    assert (~keep_S).sum() <= 0.05 * (80 if has_validation else 100)
    assert (group_S != training.group_S).sum() <= 2 * len(links)  # each pair joins two groups of two rows
    assert not np.isin(training.group_S[keep_S], test.group_S).any()
    for pair in links:
        if keep_S[pair.first] and (pair.second > 99 or keep_S[pair.second]):
            assert pair.second <= 99  # no copy of a test row is left
            if has_validation:
                assert valid_FS[0][pair.first] == valid_FS[0][pair.second]
            else:
                assert keeps_groups and group_S[pair.first] == group_S[pair.second]
