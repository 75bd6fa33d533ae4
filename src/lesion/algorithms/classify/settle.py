"""Settle: the question, the folds and the kinds of metadata that tables ask for, without opening a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.check.shortcuts import columns_that_give_away, refuse_answers
from lesion.data.folds import Folds, assign_folds, check_folds, folds_from_column
from lesion.data.labels import Labelled, Labels, read_labels
from lesion.data.metadata import Kind, MetadataEncoder, column_kinds
from lesion.data.table import SampleTable, Source
from lesion.errors import UserError
from lesion.evaluation.metrics import METRICS


@dataclass(frozen=True)
class Checked:
    """A data set that can be trained on: the sets as they were mended, the question, and the folds.

    `opened_S` says where the training rows stood before any was dropped.
    """

    training: Source
    test: Source | None
    opened_S: NDArray[np.intp]
    labels: Labels
    labelled: Labelled
    held_FS: Folds
    kinds: Mapping[str, Kind]
    shortcuts: Mapping[str, float]  # ROC AUC by what it is reached with; empty until pictures were opened


def settle(config: ClassifyConfig, training: Source, test: Source | None) -> Checked:
    """What the tables ask for.

    Raises UserError for targets, folds or metadata that cannot be trained on, and test rows that cannot be answered.
    """
    table = training.table()
    labels = read_labels(table, of_interest=config.target_of_interest)
    labelled = Labelled(table, labels.target, labels.encode(table))
    if config.slide_score != "none" and (table.group_S is None or not labels.target.is_yes_no):
        raise UserError(
            f"slide_score={config.slide_score} needs groups, and a target of yes or no",
            where=table.where,
            do="Set group_column to the slide's column, target_of_interest to a class, or slide_score=none.",
            kind="hyperparameters",
        )
    held_FS = choose_folds(labelled, config)
    kinds = checked_kinds(table, config)
    rows = table.metadata_rows()
    if test is not None:  # a test row that cannot be encoded is told now, not when all folds are trained
        MetadataEncoder.fit(rows, kinds, logs=config.log_columns).encode(test.table().metadata_rows())
        if test.table().targets is not None:
            labels.encode(test.table())
    if config.on_leak != "warn":
        asked_SQ = labels.target.asked(labelled.targets_SK)
        refuse_answers(columns_that_give_away(rows, kinds, asked_SQ, held_FS), where=table.where)
    return Checked(training, test, np.arange(len(table)), labels, labelled, held_FS, kinds, shortcuts={})


def choose_folds(labelled: Labelled, config: ClassifyConfig) -> Folds:
    """What each fold holds out, by the user's splitter or column; a validation channel's rows are the one fold there
    is."""
    table, target, targets_SK = labelled.table, labelled.target, labelled.targets_SK
    given_FS = given_folds(table)
    held_FS = given_FS
    if held_FS is None:
        held_FS = assign_folds(
            table.group_S,
            target.class_of(targets_SK),
            config.folds,
            seed=config.seed,
            split=config.split,
            repeats=config.repeats,
            name_S=table.name_S,
        )
    are_groups_kept = given_FS is None and config.keeps_groups  # of given folds group_leaks speaks
    judged = target.judged(targets_SK) if METRICS[config.metric].needs_both else {}
    check_folds(held_FS, target.classes(targets_SK), judged, table.group_S if are_groups_kept else None)
    return held_FS


def checked_kinds(table: SampleTable, config: ClassifyConfig) -> dict[str, Kind]:
    """What each metadata column holds. Raises UserError where a logarithm is asked of what holds no numbers."""
    kinds = column_kinds(table.metadata_rows(), list(table.metadata.columns))
    if wrong := [name for name in config.log_columns if kinds.get(name) != "number"]:
        raise UserError(
            f"log_columns={wrong[0]} is not a metadata column of numbers",
            where=f"{table.where}: {kinds}",
            do="Take it out, or add the column to metadata_columns.",
            kind="hyperparameters",
        )
    return kinds


def given_folds(table: SampleTable) -> Folds | None:
    """The folds that a validation channel or a column gives; None where a splitter deals them."""
    if table.is_held_S is not None:
        return table.is_held_S[None]
    return None if table.fold_S is None else folds_from_column(table.fold_S)
