"""Hold out: which rows are kept from the scorer, to set the threshold and to judge. Whole groups, or a given set."""

# S samples · F folds · G groups

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.anomaly.config import AnomalyConfig
from lesion.data.folds import Folds
from lesion.data.table import SampleTable
from lesion.errors import UserError
from lesion.words import number_of

FEWEST_HELD_OUT = 2  # groups: they say how much normal groups differ
LEARNED = {"memory": "one to learn from", "gan": "one to learn from, one for the errors of the reconstruction"}
Mask = NDArray[np.bool_]


def least_learned(scorer: str) -> int:
    """The fewest groups with normal rows that a scorer learns from."""
    return 2 if scorer == "gan" else 1


def hold_out(table: SampleTable, is_normal_S: Mask, config: AnomalyConfig) -> Mask:
    """The rows [S] of the groups that are held out: those without a normal row, and of the others as many as hold the
    share `held_out` of the normal rows, FEWEST_HELD_OUT or more: first those with an anomalous row, which judges the
    model only if it is held out, then others, each at random. Raises UserError for too few groups."""
    group_S = table.group_or_row_S
    groups_G, counts_G = np.unique(group_S[is_normal_S], return_counts=True)  # sorted: the rows' order changes nothing
    num_learned = least_learned(config.scorer)
    if len(groups_G) < num_learned + FEWEST_HELD_OUT:
        unit = "row" if table.group_S is None else "group"
        raise UserError(
            f"the normal rows are of {number_of(len(groups_G), unit)}, and {num_learned + FEWEST_HELD_OUT} are needed: "
            f"{LEARNED[config.scorer]}, and two held out, which say how much normal tissue differs",
            where=table.where,
            do=f"Add normal rows of other {unit}s, or correct group_column.",
        )
    order = np.random.default_rng(config.seed).permutation(len(groups_G))
    has_anomalous_G = np.isin(groups_G, group_S[~is_normal_S])
    order = order[np.argsort(~has_anomalous_G[order], kind="stable")]
    is_held_G = np.cumsum(counts_G[order]) - counts_G[order] < config.held_out * counts_G.sum()
    is_held_G[:FEWEST_HELD_OUT], is_held_G[-num_learned:] = True, False
    is_learned_S = np.isin(group_S, groups_G[order][~is_held_G])
    return np.asarray(~is_learned_S)


def given_hold_out(table: SampleTable, is_normal_S: Mask, config: AnomalyConfig, given_FS: Folds) -> Mask:
    """The held-out rows of a validation set. Raises UserError for several folds, for a set without normal rows, and for
    training rows of too few groups."""
    if len(given_FS) > 1:
        what = f"the column that split names has {len(given_FS)} folds, and anomaly detection holds rows out once"
        raise UserError(what, where=table.where, do="Name a column of sets (train, validation), or leave split out.")
    for part, is_part_S in (("training", ~given_FS[0]), ("validation", given_FS[0])):
        if not (is_part_S & is_normal_S).any():
            needs = "is learned from" if part == "training" else "sets the threshold"
            raise UserError(
                f"the {part} set has no normal row, and its normal tissue {needs}",
                where=table.where,
                do="Add normal rows to it.",
            )
    num_groups = len(np.unique(table.group_or_row_S[~given_FS[0] & is_normal_S]))
    if num_groups < least_learned(config.scorer):
        raise UserError(
            f"the normal rows of the training set are of {number_of(num_groups, 'group')}, and scorer={config.scorer} "
            f"needs {least_learned(config.scorer)}: {LEARNED[config.scorer]}",
            where=table.where,
            do="Add normal rows of other groups to it, or correct group_column.",
        )
    return np.asarray(given_FS[0])
