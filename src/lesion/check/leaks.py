"""Leaks: patients or pictures shared by training rows and the rows that evaluate them, and what is done about it.

A policy decides. "error" refuses; "drop" leaves training rows out; "merge_groups" makes groups that share a picture
one, which keeps its copies in one fold; "warn" trains on them. "auto" repairs: it merges groups where the split keeps
groups together, and leaves rows out elsewhere. It refuses where a column gives the folds, which the user decided, and
where more than 5 % of the training rows would go or are surplus copies: then the data set has a larger fault.
"""

# S training rows (a validation channel's among them) · T test rows · F folds · G groups · L links

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion.check.duplicates import Pair
from lesion.check.finding import Finding, Level, TableRow
from lesion.data.folds import Folds
from lesion.data.groups import normal_id
from lesion.data.table import SampleTable
from lesion.words import listed, number_of

Policy = Literal["auto", "error", "drop", "warn", "merge_groups"]
# Of the training rows: those that auto leaves out, and of each image that it merges groups for all copies but one.
# Not the other rows of merged groups, which stay: one pair between two large groups is no larger fault.
MOST_CONCERNED = 0.05
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class LeakRules:
    """How training and validation rows are separated, and the policy where a leak breaks that."""

    policy: Policy
    keeps_groups: bool  # the split promises that no group lies on both sides of a fold
    fixed_FS: Folds | None = None  # the folds, where a column or a validation channel gives them


@dataclass(frozen=True)
class Resolved:
    """What was found, and what the policy makes of the training rows: those that are kept, and their groups."""

    findings: list[Finding]
    keep_S: Mask
    group_S: NDArray[np.str_] | None = None


@dataclass(frozen=True)
class Leak:
    """One kind of leak, before anything is done about it."""

    name: str
    what: str
    rows: tuple[TableRow, ...]
    drop_S: Mask  # the training rows that on_leak=drop leaves out
    by_auto: Literal["drop", "merge", "refuse"]
    auto_drop_S: Mask  # those that on_leak=auto leaves out, where that is what it does
    links: Sequence[tuple[int, int]] = ()  # pairs of training rows whose groups become one, where they are merged
    where: str | None = None

    @property
    def can_merge(self) -> bool:
        return self.by_auto == "merge"


def group_leaks(training: SampleTable, test: SampleTable | None, rules: LeakRules) -> Resolved:
    """Groups on both sides of a fold that is given, and groups of training rows that are in the test set too."""
    leaks, group_S = [], training.group_S

    def add(name: str, sides: str, drop_S: Mask, by_auto: Literal["drop", "refuse"]) -> None:
        if drop_S.any():
            groups = np.unique(training.group_or_row_S[drop_S]).tolist()
            what = f"{number_of(len(groups), 'group')} {sides}: {listed(groups)}"
            rows = tuple(_row(index, training, None) for index in np.flatnonzero(drop_S).tolist())
            leaks.append(Leak(name, what, rows, drop_S, by_auto, drop_S, where=training.where))

    if group_S is not None and rules.fixed_FS is not None:  # whatever split says: it deals no folds here
        fold_S = _fold_numbers(rules.fixed_FS)
        groups_G, number_S = np.unique(group_S, return_inverse=True)
        last_G = np.full(len(groups_G), -1)
        np.maximum.at(last_G, number_S, fold_S)
        drop_S = fold_S < last_G[number_S]  # those that are held out, and of the folds of a column the last, stay
        if training.is_valid_S is None:
            add("group_on_both_sides", "in several folds", drop_S, "refuse")
        else:
            add("group_on_both_sides", "in training and validation", drop_S, "drop")
    if group_S is not None and test is not None and test.group_S is not None:
        add("group_in_test", "in training and test", _tested(training, test), "drop")
    return _resolved(training, leaks, rules, concerned_S=np.zeros(len(training), dtype=bool))


def _tested(training: SampleTable, test: SampleTable) -> Mask:
    """The training rows [S] whose group the test set has too, in whatever way it is written there."""
    assert training.group_S is not None and test.group_S is not None
    tested = {normal_id(group) for group in set(test.group_S[~test.has_own_group_S].tolist())}
    shared = [group for group in set(training.group_S.tolist()) if normal_id(group) in tested]
    return np.isin(training.group_S, np.array(shared, dtype=np.str_)) & ~training.has_own_group_S


def copy_leaks(
    training: SampleTable,
    test: SampleTable | None,
    pairs: Sequence[Pair],
    rules: LeakRules,
    *,
    concerned_S: Mask | None = None,
) -> Resolved:
    """Leaks by copies of a picture in training and validation rows of a fold, or in training and test.

    `pairs` number the training rows first and the test rows after them. A pair within a group that is kept together,
    or within one fold where folds are given, is no leak. `concerned_S` are the rows that on_leak=auto has already
    left out: they count towards its limit.
    """
    num = len(training)
    apart_S = _apart(training, rules)
    within = [(pair.first, pair.second) for pair in pairs if pair.second < num]
    across = [(a, b) for a, b in within if apart_S[a] != apart_S[b]]
    in_test = [(pair.first, pair.second) for pair in pairs if pair.first < num <= pair.second]
    spare_S, tested_S = _spare_copies(within, in_test, apart_S, keeps_last=rules.fixed_FS is not None)
    are_given = rules.fixed_FS is not None and training.is_valid_S is None  # by a column
    can_merge = rules.keeps_groups and rules.fixed_FS is None and training.group_S is not None
    leaks, notes = [], []

    def words(found: Sequence[tuple[int, int]], where: str) -> tuple[str, tuple[TableRow, ...]]:
        rows = tuple(_row(index, training, test) for pair in found for index in pair)
        return f"{number_of(len(found), 'pair')} of copies of the same image {where}", rows

    if across:
        where = "in different groups" if can_merge else "in one set" if rules.fixed_FS is None else "in different folds"
        by_auto: Literal["drop", "merge", "refuse"] = "merge" if can_merge else "refuse" if are_given else "drop"
        leaks.append(
            Leak("copies_across_folds", *words(across, where), spare_S, by_auto, spare_S, across, training.where)
        )
    if in_test:
        assert test is not None  # it has a row of each of these pairs
        both = f"{training.where} and {test.where}"
        leaks.append(
            Leak("copies_in_test", *words(in_test, "in training and test"), tested_S, "drop", tested_S, where=both)
        )
    concerned_S = np.zeros(num, dtype=bool) if concerned_S is None else concerned_S
    resolved = _resolved(training, leaks, rules, concerned_S=concerned_S)
    if training.targets is not None:
        rows_SK = training.targets.to_numpy(dtype=np.str_)
        has_all_S = (rows_SK != "").all(axis=1)
        if contradicting := [(a, b) for a, b in within if (rows_SK[a] != rows_SK[b]).any() and has_all_S[[a, b]].all()]:
            what, rows = words(contradicting, "with different targets")
            called = [
                " = ".join(f"{training.name_S[row]} ({', '.join(rows_SK[row])})" for row in pair)
                for pair in contradicting
            ]
            what += f": {listed(called)}"
            stay = [str(training.name_S[row]) for row in np.unique(contradicting).tolist() if resolved.keep_S[row]]
            trained = f" Until then these are trained on as they are: {listed(stay)}." if stay else ""
            advice = f"One of each two is wrong: correct the targets.{trained}"
            notes.append(Finding("warning", "contradicting_copies", what, advice, training.where, rows, is_paired=True))
    if harmless := [(a, b) for a, b in within if apart_S[a] == apart_S[b]]:
        what, rows = words(harmless, "within a group or fold")
        advice = "They stay in one fold; each counts as a separate image."
        notes.append(Finding("note", "copies_within_groups", what, advice, training.where, rows, is_paired=True))
    return replace(resolved, findings=[*resolved.findings, *notes])


def _resolved(training: SampleTable, leaks: Sequence[Leak], rules: LeakRules, *, concerned_S: Mask) -> Resolved:
    """The leaks as findings, and what the policy makes of the rows."""
    policy, drop_S, group_S = rules.policy, np.zeros(len(training), dtype=bool), None
    for leak in leaks:
        if policy == "drop":
            drop_S = drop_S | leak.drop_S
        elif policy == "auto" and leak.by_auto == "drop":
            drop_S = drop_S | leak.auto_drop_S
    if policy in {"auto", "merge_groups"}:
        links = [(a, b) for leak in leaks if leak.can_merge for a, b in leak.links if not (drop_S[a] or drop_S[b])]
        group_S = _merged(training, links) if links else None
        for leak in leaks:
            concerned_S = concerned_S | leak.drop_S if leak.can_merge else concerned_S
    concerned_S = concerned_S | drop_S
    share = float(concerned_S.sum() / max(num_learned(training), 1))
    if policy == "auto" and share > MOST_CONCERNED:
        findings = [_as_finding(leak, _too_many(leak, training, int(concerned_S.sum()))) for leak in leaks]
        return Resolved(findings, np.ones(len(training), dtype=bool))
    return Resolved([_as_finding(leak, _verdict(leak, policy, training)) for leak in leaks], ~drop_S, group_S)


def num_learned(training: SampleTable) -> int:
    """How many rows are trained on: all but those of a validation channel."""
    return len(training) if training.is_valid_S is None else int((~training.is_valid_S).sum())


def _verdict(leak: Leak, policy: Policy, training: SampleTable) -> tuple[Level, str]:
    """The level of a leak's finding under a policy, and its advice."""
    mends = leak.by_auto if policy == "auto" else "drop" if policy == "drop" else "refuse"
    if policy == "merge_groups" and leak.can_merge:
        mends = "merge"
    if mends == "drop":
        gone = training.name_S[leak.auto_drop_S if policy == "auto" else leak.drop_S].tolist()
        return "warning", f"on_leak={policy} leaves {number_of(len(gone), 'training row')} out: {listed(gone)}."
    if mends == "merge":
        return "warning", f"on_leak={policy} keeps their groups in one fold."
    if policy == "warn":
        return "warning", "on_leak=warn trains on them: the metrics will look better than they are."
    if policy == "merge_groups":
        return "error", f"on_leak=merge_groups cannot repair that. {_choices(leak)}"
    if policy == "auto":
        return "error", f"on_leak=auto does not change the folds of a column. {_choices(leak)}"
    return "error", _choices(leak)


def _too_many(leak: Leak, training: SampleTable, num_concerned: int) -> tuple[Level, str]:
    num = num_learned(training)
    return "error", (
        f"Repairing all leaks together changes {num_concerned} of {number_of(num, 'training row')} "
        f"({num_concerned / max(num, 1):.1%}), and on_leak=auto does that for {MOST_CONCERNED:.0%} at most, which is "
        f"{int(MOST_CONCERNED * num)}. {_choices(leak)}"
    )


def _choices(leak: Leak) -> str:
    merging = "merge_groups to keep them in one fold, " if leak.can_merge else ""
    num = number_of(int(leak.drop_S.sum()), "training row")
    return f"Correct the table, or set on_leak=drop to leave {num} out, {merging}or warn to train on them."


def _as_finding(leak: Leak, verdict: tuple[Level, str]) -> Finding:
    level, do = verdict
    is_paired = leak.name.startswith("copies")
    return Finding(level, leak.name, leak.what, do, leak.where, leak.rows, is_paired)


def _apart(training: SampleTable, rules: LeakRules) -> NDArray[np.intp]:
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
) -> tuple[Mask, Mask]:
    """Two masks [S]: the rows to leave out so that no copies are apart, and those that the test set has too.

    Of each picture one group's rows, or those of its last fold, stay, and none where it is in the test set.
    """
    num = len(apart_S)
    spare_S, tested_S = np.zeros(num, dtype=bool), np.zeros(num, dtype=bool)
    pairs = [*within, *in_test]
    if not pairs:
        return spare_S, tested_S
    picture_N = _components(np.array(pairs), max(num, int(np.max(pairs)) + 1))
    rows = np.unique([index for pair in pairs for index in pair if index < num])
    frame = pd.DataFrame({"picture": picture_N[rows], "apart": apart_S[rows]})
    stays = frame.groupby("picture")["apart"].transform("max" if keeps_last else "first")
    tested_S[rows] = frame["picture"].isin(picture_N[[b for _, b in in_test]])
    spare_S[rows] = frame["apart"] != stays
    return spare_S, tested_S


def _merged(training: SampleTable, links: Sequence[tuple[int, int]]) -> NDArray[np.str_]:
    """The groups [S], those that share a picture under the first of their names."""
    groups_G, number_S = np.unique(training.group_or_row_S, return_inverse=True)
    component_G = _components(number_S[np.array(links)], len(groups_G))
    _, first_of = np.unique(component_G, return_index=True)  # groups are sorted, so the first is the first by name
    return np.asarray(groups_G[first_of[component_G[number_S]]], dtype=np.str_)


def _components(links_L2: NDArray[np.intp], num: int) -> NDArray[np.intp]:
    """A number for each of `num` things, the same for those that links join."""
    from scipy.sparse import coo_array  # type: ignore[import-untyped]
    from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped]

    links = coo_array((np.ones(len(links_L2)), links_L2.T), shape=(num, num))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.intp)


def _fold_numbers(valid_FS: Folds) -> NDArray[np.intp]:
    """The fold [S] that holds each row, −1 where none does."""
    return np.asarray(np.where(valid_FS.any(axis=0), valid_FS.argmax(axis=0), -1), dtype=np.intp)


def _row(index: int, training: SampleTable, test: SampleTable | None) -> TableRow:
    if index < len(training):
        return TableRow("training", index, str(training.name_S[index]))
    assert test is not None
    return TableRow("test", index - len(training), str(test.name_S[index - len(training)]))
