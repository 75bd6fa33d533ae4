"""Fold advice: each cause has its own words, and what is advised works when it is followed."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesion.data.fold_advice import Divided, Plan, deal_folds, refuse_given_folds
from lesion.errors import UserError
from lesion.settings import SPLITS


def divided(groups: list[str] | None, classes: str) -> Divided:
    """Rows r0, r1 … of the classes that the letters name; all of them are needed on both sides of a fold."""
    class_S = np.array(list(classes))
    masks = {name: class_S == name for name in sorted(set(classes) | {"a", "b"})}
    return Divided(
        name_S=np.array([f"r{row}" for row in range(len(classes))]),
        group_S=None if groups is None else np.array(groups),
        class_S=np.unique(class_S, return_inverse=True)[1],
        learned=masks,
        judged=masks,
        where="train.csv",
        columns="target",
    )


def plan(split: str = "group_kfold", folds: int = 3, repeats: int = 1, *, holds_back: bool = False) -> Plan:
    return Plan(split, folds, repeats, seed=0, holds_back=holds_back)


SIX = ["A", "A", "B", "B", "C", "C", "D", "D", "E", "E", "F", "F"]
# groups, classes, plan; what the refusal says, and what it advises
CASES = {
    "one group in all": (
        (["A"] * 6, "ababab", plan()),
        r"^all 6 rows are of one group, A: .*\(train.csv\)",
        "Correct the groups, or set group_column to another column, or set split=stratified_kfold if the images are of "
        "different patients.",
    ),
    "a class in one group": (
        (SIX, "abccabababab", plan()),
        r"^all 2 rows of class c are of one group, B, so no split has the class on both sides \(train.csv, column",
        "Add rows of class c of another group, or leave the class out, or correct the groups.",
    ),
    "a class in one group, with rows enough for folds without groups": (
        (SIX, "abccccababab".replace("cccc", "cc" + "ab"), plan(folds=2)),
        "^all 2 rows of class c are of one group, B",
        "Add rows of class c of another group, or leave the class out, or correct the groups, or set "
        "split=stratified_kfold if the images are of different patients.",
    ),
    "one class alone": (
        (SIX, "a" * 12, plan()),
        r"^all 12 rows are of class a, and no row is of class b \(train.csv, column 'target'\)",
        "Add rows of class b, correct the targets, or set target_column to another column.",
    ),
    "a class of one row": (
        (SIX, "abcbabababab", plan()),
        "^class c has 1 row only, r2",
        "Correct the targets or leave these rows out.",
    ),
    "fewer groups than folds": (
        (["A", "A", "B", "B", "C", "C"], "ababab", plan(folds=6)),
        r"^6 folds cannot be made from 3 groups \(train.csv\)",
        "Add groups, or set folds=3.",
    ),
    "fewer groups than folds, and a class in two of them": (
        (["A", "A", "B", "B", "C", "C"], "ababaa", plan(folds=6)),
        "^class b has 2 groups only, A, B; 6 folds cannot be made from 3 groups",
        "Add groups of class b, or set folds=2.",
    ),
    "a class in fewer groups than folds": (
        (SIX, "abababaaaaaa", plan(folds=6)),
        "^class b has 3 groups only, A, B, C; fold . has no validation row of class b",
        "Add groups of class b, or set folds=3 or metric=log_loss, which does not need every class in validation.",
    ),
    "a class of fewer rows than folds": (
        (None, "abababaaaaaa", plan("stratified_kfold", folds=6)),
        "^class b has 3 rows only, r1, r3, r5; 6 stratified folds need 6 rows of each class, and one class has 3",
        "Add rows of class b, or set folds=3.",
    ),
    "a split that does not look at classes": (
        (list("ABCD") * 3, "abab" * 3, plan(folds=2)),
        "^fold . has no .* row of class .",
        "Correct the groups or targets, or set split=stratified_group_kfold.",
    ),
    "a group a fold": (
        (["A", "A", "B", "B", "C", "C"], "ababaa", plan("leave_one_group_out", folds=2)),
        "^fold 2 has no validation row of class b",
        "Correct the groups or targets, or set split=group_kfold or metric=log_loss, which does not need every class "
        "in validation.",
    ),
    "a class in two groups, of which one is held back": (
        (list("ABCD"), "aabb", plan("leave_one_group_out", holds_back=True), False),
        r"^class b has 2 groups only, C, D; fold 2 has no training row of class b \(fold 3 is held back from all\)",
        "Add groups of class b, or set final_model=ensemble, which holds no rows back.",
    ),
    "fewer groups than folds and the one that is held back": (
        (SIX[:8], "abababab", plan(folds=4, holds_back=True)),
        r"^5 folds cannot be made from 4 groups \(train.csv\)",
        "Add groups, or set folds=3 or final_model=ensemble, which holds no rows back.",
    ),
    "a group a fold, of too many": (
        ([f"P{row}" for row in range(120)], "ab" * 60, plan("leave_one_group_out")),
        "^leave_one_group_out would train 120 networks, one per group",
        "Correct the groups or targets, or set split=group_kfold.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("cause", CASES)
def test_each_cause_has_its_own_words_and_remedy(cause):
    (groups, classes, asked, *are_judged), message, do = CASES[cause]
    rows = divided(groups, classes)
    with pytest.raises(UserError, match=message) as caught:
        deal_folds(rows if are_judged != [False] else replace(rows, judged={}), asked)
    assert caught.value.do == do


def test_a_split_without_groups_is_not_advised_where_on_leak_refuses_it():
    with pytest.raises(UserError) as caught:
        deal_folds(replace(divided(["A"] * 6, "ababab"), can_share_groups=False), plan())
    assert caught.value.do == "Correct the groups, or set group_column to another column."


def followed(rows: Divided, asked: Plan, advice: str) -> tuple[Divided, Plan]:
    """The rows and plan after a piece of advice: "split=x and folds=3", "metric=log_loss"."""
    for name, value in re.findall(r"(split|folds|metric|final_model)=(\w+)", advice):
        if name == "metric":
            rows = replace(rows, judged={})
        elif name == "final_model":
            asked = replace(asked, holds_back=False)
        else:
            asked = replace(asked, **{name: int(value) if name == "folds" else value})
    return rows, asked


@settings(max_examples=150)
@given(
    rows=st.lists(st.tuples(st.sampled_from("ABCDEF"), st.sampled_from("aaabbc")), min_size=2, max_size=18),
    folds=st.integers(2, 7),
    repeats=st.integers(1, 2),
    split=st.sampled_from(SPLITS),
    holds_back=st.booleans(),
)
def test_what_is_advised_works(rows, folds, repeats, split, holds_back):
    table = divided([group for group, _ in rows], "".join(name for _, name in rows))
    repeats = 1 if split == "leave_one_group_out" or holds_back else repeats
    asked = plan(split, folds, repeats, holds_back=holds_back)
    try:
        valid_FS = deal_folds(table, asked)
    except UserError as error:
        assert "at most 1" not in error.do
        for advice in re.findall(r"(?:split|folds|metric|final_model)=\w+(?: and folds=\d+)?", error.do):
            deal_folds(*followed(table, asked, advice))
    else:
        trained_FS, back_S = (valid_FS[:-1], valid_FS[-1]) if holds_back else (valid_FS, np.zeros(len(rows), bool))
        for valid_S in trained_FS:
            assert all((is_S & ~valid_S & ~back_S).any() for is_S in table.learned.values())
        assert all((is_S & valid_S).any() for valid_S in valid_FS for is_S in table.judged.values())


FIRST, FIRST_TWO = [[True, False, False, False]], [[True, True, False, False]]  # of a validation set
EVERY_OTHER = [[True, False, True, False], [False, True, False, True]]  # of a column of folds


@pytest.mark.parametrize(
    ("held", "classes", "message", "do"),
    [
        (
            FIRST_TWO,
            "aabb",
            "the validation set has no row of class b; the training set has no row of class a",
            "Give each of the two sets rows of each class.",
        ),
        (
            FIRST,
            "abab",
            "the validation set has no row of class b",
            "Give each of the two sets rows of each class, or set metric=log_loss, which does not need every class in "
            "validation.",
        ),
        (
            EVERY_OTHER,
            "abab",
            "fold 0 has no validation row of class b; fold 0 has no training row of class a; fold 1 has no",
            "Correct the column of folds, or the targets, or set split=stratified_kfold.",
        ),
        (
            EVERY_OTHER,
            "abaa",
            "fold 0 has no validation row of class b",
            "Correct the column of folds, or the targets.",
        ),
    ],
)
def test_folds_that_are_given_are_not_dealt_anew(held, classes, message, do):
    otherwise = plan("stratified_kfold", 2) if held is EVERY_OTHER else None
    with pytest.raises(UserError, match=message) as caught:
        refuse_given_folds(np.array(held), divided(None, classes), otherwise)
    assert caught.value.do == do


def test_given_folds_of_which_the_last_is_held_back_need_each_class_in_two_others():
    of_three = np.repeat(np.eye(3, dtype=bool), 2, axis=1)
    with pytest.raises(UserError, match=r"fold 0 has no training row of class b .fold 2 is held back") as caught:
        refuse_given_folds(of_three, replace(divided(None, "abaaab"), judged={}), plan("kfold", 2, holds_back=True))
    assert caught.value.do.endswith("or set split=kfold or final_model=ensemble, which holds no rows back.")
    refuse_given_folds(of_three, replace(divided(None, "ababaa"), judged={}), plan("kfold", 2, holds_back=True))


def test_given_folds_with_each_class_on_both_sides_pass():
    refuse_given_folds(np.array([[True, True, False, False]]), divided(None, "abab"), None)
