"""Leaks: what training rows share with rows that judge them, a patient or a picture, and what is done about it.

A policy decides: "error" refuses; "drop" leaves training rows out; "merge_groups" makes groups that share a picture
one, which keeps its copies in one fold; "warn" goes on.
"""

# S training rows (a validation channel's among them) · T test rows · F folds · G groups · L links

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion.check.finding import Finding, Level, Row, number_of
from lesion.data.duplicates import Pair
from lesion.data.folds import Folds
from lesion.data.table import SampleTable

Policy = Literal["error", "drop", "warn", "merge_groups"]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Rules:
    """How rows are held apart: by whose word, and what is done where that does not hold."""

    policy: Policy
    keeps_groups: bool  # the split promises that no group lies on both sides of a fold
    fixed_FS: Folds | None = None  # the folds, where a column or a validation channel gives them


@dataclass(frozen=True)
class Resolved:
    """What was found, and what the policy makes of the training rows: those that are kept, and their groups."""

    findings: list[Finding]
    keep_S: Mask
    group_S: NDArray[np.str_] | None = None


def group_leaks(training: SampleTable, test: SampleTable | None, rules: Rules) -> Resolved:
    """Groups on both sides of a fold that is given, and groups of training rows that are in the test set too."""
    findings, keep_S = [], np.ones(len(training), dtype=bool)
    group_S = training.group_S
    if group_S is not None and rules.keeps_groups and rules.fixed_FS is not None:
        fold_S = _fold_numbers(rules.fixed_FS)
        groups_G, number_S = np.unique(group_S, return_inverse=True)
        last_G = np.full(len(groups_G), -1)
        np.maximum.at(last_G, number_S, fold_S)
        drop_S = fold_S < last_G[number_S]  # those that are held out, and of the folds of a column the last, stay
        if drop_S.any():
            sides = "in training and validation" if training.is_held_S is not None else "in several folds"
            findings.append(_shared("group_on_both_sides", sides, training, drop_S, rules.policy))
            keep_S &= ~drop_S
    if group_S is not None and test is not None and test.group_S is not None:
        drop_S = np.isin(group_S, test.group_S)
        if drop_S.any():
            findings.append(_shared("group_in_test", "in training and test", training, drop_S, rules.policy))
            keep_S &= ~drop_S
    return Resolved(findings, keep_S if rules.policy == "drop" else np.ones_like(keep_S))


def copy_leaks(training: SampleTable, test: SampleTable | None, pairs: Sequence[Pair], rules: Rules) -> Resolved:
    """Copies of a picture that may come to lie on both sides of a fold, or in training and test.

    `pairs` number the training rows first and the test rows after them. A pair within a group that is kept together,
    or within one fold where folds are given, is no leak.
    """
    num = len(training)
    apart_S = _apart(training, rules)
    within = [(pair.first, pair.second) for pair in pairs if pair.second < num]
    across = [(a, b) for a, b in within if apart_S[a] != apart_S[b]]
    in_test = [(pair.first, pair.second) for pair in pairs if pair.first < num <= pair.second]
    can_merge = rules.keeps_groups and rules.fixed_FS is None and training.group_S is not None
    drop_S = _spare_copies(within, in_test, apart_S, keeps_last=rules.fixed_FS is not None)
    findings = []

    def add(name: str, found: Sequence[tuple[int, int]], where: str, verdict: tuple[Level, str]) -> None:
        if found:
            rows = tuple(_row(index, training, test) for pair in found for index in pair)
            what = f"{number_of(len(found), 'pair')} of copies of one picture {where}"
            findings.append(Finding(verdict[0], name, what, verdict[1], rows=rows, is_paired=True))

    num_dropped = int(drop_S.sum())
    where = "in different groups" if can_merge else "in one set" if rules.fixed_FS is None else "in different folds"
    add("copies_across_folds", across, where, _verdict(rules.policy, num_dropped, can_merge=can_merge))
    add("copies_in_test", in_test, "in training and test", _verdict(rules.policy, num_dropped, can_merge=False))
    if training.targets is not None:
        rows_SK = training.targets.to_numpy(dtype=np.str_)
        contradicting = [(a, b) for a, b in within if (rows_SK[a] != rows_SK[b]).any()]
        advice = "One of each two is wrong: correct the targets."
        add("contradicting_copies", contradicting, "with different targets", ("warning", advice))
    harmless = [(a, b) for a, b in within if apart_S[a] == apart_S[b]]
    advice = "They are held together; each counts as a picture of its own."
    add("copies_within_groups", harmless, "within a group or fold", ("note", advice))
    if rules.policy == "drop":
        return Resolved(findings, ~drop_S)
    group_S = _merged(training, across) if rules.policy == "merge_groups" and can_merge and across else None
    return Resolved(findings, np.ones(num, dtype=bool), group_S)


def _apart(training: SampleTable, rules: Rules) -> NDArray[np.intp]:
    """A number [S] for each row; rows of one number are never on two sides of a fold."""
    if rules.fixed_FS is not None:
        return _fold_numbers(rules.fixed_FS)
    if rules.keeps_groups and training.group_S is not None:
        return np.unique(training.group_S, return_inverse=True)[1]
    return np.arange(len(training))


def _spare_copies(
    within: Sequence[tuple[int, int]],
    in_test: Sequence[tuple[int, int]],
    apart_S: NDArray[np.intp],
    *,
    keeps_last: bool,
) -> Mask:
    """The rows [S] without which no two that are apart are copies: of each picture one group's, or its last fold's,
    stay, and none where it is in the test set."""
    num = len(apart_S)
    drop_S = np.zeros(num, dtype=bool)
    pairs = [*within, *in_test]
    if not pairs:
        return drop_S
    picture_N = _components(np.array(pairs), max(num, int(np.max(pairs)) + 1))
    rows = np.unique([index for pair in pairs for index in pair if index < num])
    frame = pd.DataFrame({"picture": picture_N[rows], "apart": apart_S[rows]})
    stays = frame.groupby("picture")["apart"].transform("max" if keeps_last else "first")
    tested = picture_N[[b for _, b in in_test]]
    drop_S[rows] = (frame["apart"] != stays) | frame["picture"].isin(tested)
    return drop_S


def _shared(name: str, sides: str, training: SampleTable, drop_S: Mask, policy: Policy) -> Finding:
    groups_G = np.unique(training.unit_S[drop_S])
    level, do = _verdict(policy, int(drop_S.sum()), can_merge=False)
    more = f" and {len(groups_G) - 5} more" if len(groups_G) > 5 else ""
    return Finding(
        level,
        name,
        f"{number_of(len(groups_G), 'group')} {sides}: {', '.join(groups_G[:5].tolist())}{more}",
        do,
        where=training.where,
        rows=tuple(_row(index, training, None) for index in np.flatnonzero(drop_S).tolist()),
    )


def _verdict(policy: Policy, num_dropped: int, *, can_merge: bool) -> tuple[Level, str]:
    """How grave a leak is under a policy, and what is said to be done."""
    if policy == "drop":
        return "warning", f"on_leak=drop leaves {number_of(num_dropped, 'training row')} out."
    if policy == "warn":
        return "warning", "on_leak=warn goes on: the metrics will look better than they are."
    if policy == "merge_groups" and can_merge:
        return "warning", "on_leak=merge_groups keeps their groups in one fold."
    others = "merge_groups to keep them in one fold, " if can_merge else ""
    why = "on_leak=merge_groups cannot mend that. " if policy == "merge_groups" else ""
    return "error", (
        f"{why}Correct the table, or set on_leak=drop to leave {number_of(num_dropped, 'training row')} out, {others}"
        "or warn to go on as it is."
    )


def _merged(training: SampleTable, across: Sequence[tuple[int, int]]) -> NDArray[np.str_]:
    """The groups [S], those that share a picture under the first of their names."""
    groups_G, number_S = np.unique(training.unit_S, return_inverse=True)
    component_G = _components(number_S[np.array(across)], len(groups_G))
    _, first_of = np.unique(component_G, return_index=True)  # groups are sorted, so the first is the first by name
    return np.asarray(groups_G[first_of[component_G[number_S]]], dtype=np.str_)


def _components(links_L2: NDArray[np.intp], num: int) -> NDArray[np.intp]:
    """A number for each of `num` things, the same for those that links join."""
    from scipy.sparse import coo_array  # type: ignore[import-untyped]
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

    links = coo_array((np.ones(len(links_L2)), links_L2.T), shape=(num, num))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.intp)


def _fold_numbers(held_FS: Folds) -> NDArray[np.intp]:
    """The fold [S] that holds each row, −1 where none does."""
    return np.asarray(np.where(held_FS.any(axis=0), held_FS.argmax(axis=0), -1), dtype=np.intp)


def _row(index: int, training: SampleTable, test: SampleTable | None) -> Row:
    if index < len(training):
        return Row("training", index, str(training.name_S[index]))
    assert test is not None
    return Row("test", index - len(training), str(test.name_S[index - len(training)]))
