"""Groups: ids that may be one patient, groups larger than a fold, and patients on both sides of the folds as dealt."""

# S samples · F folds · G groups

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

import numpy as np

from lesion.check.finding import Finding, Level, Part, TableRow
from lesion.check.leaks import LeakRules
from lesion.data.decode.image_files import stem
from lesion.data.folds import Folds, groups_on_both_sides
from lesion.data.groups import alike
from lesion.data.table import Rows, SampleTable
from lesion.words import listed, number_of

FEWEST = 4  # rows of which it is said that nothing is grouped
# A name that begins with a number of its own, and ends in another word: PAT000_view0, 17-left.
SHARED_STEM = re.compile(r"(.*[0-9][^_\-. ]*)[_\-. ]+[^_\-. ]+")


def alike_findings(tables: Mapping[Part, SampleTable]) -> list[Finding]:
    """A warning of ids that only a person can tell to be one patient, or two: in one set, or in two."""
    ids, where = set(), []
    for table in tables.values():
        if table.group_S is not None:
            ids |= set(table.group_S[~table.has_own_group_S].tolist())
            where.append(table.where)
    if not (found := alike(ids)):
        return []
    what = (
        "groups that may be one patient, since they differ in capitals, blanks, marks or zeros only: "
        f"{listed([' and '.join(ways) for ways in found])}"
    )
    do = "Write each patient in one way. As they are, they are different patients, and may be on two sides of a fold."
    concerned = sorted({one for ways in found for one in ways})
    rows = tuple(
        TableRow(part, int(row), str(table.name_S[row]))
        for part, table in tables.items()
        if table.group_S is not None
        for row in np.flatnonzero(np.isin(table.group_S, concerned) & ~table.has_own_group_S)
    )
    return [Finding("warning", "groups_alike", what, do, " and ".join(where), rows)]


def single_findings(tables: Mapping[Part, SampleTable]) -> list[Finding]:
    """A warning of training groups that group nothing: each is its image's name, or different in each row while the
    names of the images show what belongs together (PAT000_view0, PAT000_view1)."""
    table = tables["training"]
    if table.group_S is None or table.has_own_group_S.all():
        return []
    known_S = ~table.has_own_group_S
    groups, names = table.group_S[known_S].tolist(), [stem(name) for name in table.name_S[known_S].tolist()]
    if len(set(groups)) < len(groups) or len(groups) < FEWEST:
        return []
    column = "the group column" if table.columns is None else f"column '{table.columns.group}'"
    shared = Counter(found[1] for name in names if (found := SHARED_STEM.fullmatch(name.rpartition("/")[2])))
    repeated = {start: num for start, num in shared.items() if num > 1}
    is_name = all(
        group in {name, name.rpartition("/")[2]} for group, name in zip(map(stem, groups), names, strict=True)
    )
    if len(shared) > 1 and sum(repeated.values()) >= len(groups) / 2:
        start = max(repeated, key=lambda one: repeated[one])
        why = f"the names of the images show which belong together: {repeated[start]} begin with '{start}'"
        do = "Set group_column to a column of patients, such as that part of the names."
    elif is_name:
        why = "it is the image's name in each row"
        do = "Set group_column to a column of patients. Ignore this if no two images are of the same patient."
    else:
        return []
    what = f"{column} is different in each of {len(groups)} rows, so it groups nothing, and {why}"
    what += ". If images of one patient are in training and in validation, the metrics look better than on new patients"
    return [Finding("warning", "groups_of_one", what, do, table.where)]


def dealt_findings(rows: Rows, valid_FS: Folds, rules: LeakRules) -> list[Finding]:
    """What the folds of the rows do with the groups, whoever dealt them."""
    table = rows.table()
    if table.group_S is None or rules.fixed_FS is not None:  # group_leaks speaks of folds that are given
        return []
    return _shared(rows, valid_FS, rules) + _large(table, valid_FS)


def _shared(rows: Rows, valid_FS: Folds, rules: LeakRules) -> list[Finding]:
    """Groups on both sides: the user's choice by a split that keeps no groups, and an error only if on_leak says so."""
    table = rows.table()
    assert table.group_S is not None
    is_shared_S = groups_on_both_sides(valid_FS, table.group_S)
    if not is_shared_S.any():
        return []
    shared, num = np.unique(table.group_S[is_shared_S]).tolist(), len(np.unique(table.group_S))
    what = (
        f"{len(shared)} of {number_of(num, 'group')} are in training and in validation of a fold, with "
        f"{int(is_shared_S.sum())} of {len(table)} rows: {listed(shared)}. The metrics look better than on new patients"
    )
    do = "Set split=group_kfold or split=stratified_group_kfold, which keep each group in one fold"
    do += ", or on_leak=warn to train on them." if rules.policy == "error" else "."
    named = tuple(
        TableRow("training", int(rows.index_S[row]), str(table.name_S[row])) for row in np.flatnonzero(is_shared_S)
    )
    level: Level = "error" if rules.policy == "error" else "warning"
    return [Finding(level, "groups_across_folds", what, do, table.where, named)]


def _large(table: SampleTable, valid_FS: Folds) -> list[Finding]:
    """Groups with more rows than a fold has on average. Where each fold is one group, those with most of all rows."""
    assert table.group_S is not None
    groups_G, counts_G = np.unique(table.group_S, return_counts=True)
    num, num_times = len(table), max(int(valid_FS[:, 0].sum()), 1)  # each row is held out once in each repeat
    num_folds = len(valid_FS) // num_times
    fair = num / 2 if num_folds >= len(groups_G) else num / num_folds
    large_G = np.flatnonzero(counts_G > fair)
    if not len(large_G):
        return []
    named = [
        f"{groups_G[g]} has {counts_G[g]} of {num} rows ({counts_G[g] / num:.0%})"
        for g in large_G[np.argsort(-counts_G[large_G], kind="stable")].tolist()
    ]
    what = f"{number_of(len(named), 'group')} larger than a fold, which has {num / num_folds:.0f} rows on average"
    what += f": {listed(named)}"
    largest = int(counts_G.max())
    fits = num // largest  # folds of at least its size
    if largest > num / 2:
        what += f". Where it is held out, the network is trained on {num - largest} rows"
    do = "If it is not one patient, correct the group column; else most of the metrics is about it."
    if 2 <= fits < num_folds:
        do = f"If it is not one patient, correct the group column; else set folds={fits} for folds of its size."
    return [Finding("warning", "large_group", what, do, table.where)]
