"""Task: which rows of a table are normal, and which groups are held out to set the threshold. Opens no picture."""

# S samples · F folds · G groups

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.anomaly.config import AnomalyConfig
from lesion.algorithms.anomaly.hold_out import given_hold_out, hold_out
from lesion.algorithms.anomaly.mask_check import mask_findings
from lesion.algorithms.anomaly.masks import mask_paths
from lesion.algorithms.anomaly.normal_labels import TARGET, NormalLabels, read_normal_labels
from lesion.algorithms.anomaly.threshold import needs_anomalous, parse_point
from lesion.check.finding import Finding, Part
from lesion.check.run import Questions
from lesion.check.survey import ImageStats
from lesion.data.channels import columns_of
from lesion.data.folds import Folds, given_folds
from lesion.data.labels.encode import Labelled
from lesion.data.metadata import ColumnType
from lesion.data.remark import Remark
from lesion.data.table import Columns, SampleTable
from lesion.data.transforms import decode_px
from lesion.errors import UserError, collecting, raise_all
from lesion.words import number_of

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class AnomalyTask:
    """The rows with what is anomalous among them, and in `valid_FS` [1, S] those of the held-out groups."""

    labels: NormalLabels
    labelled: Labelled
    valid_FS: Folds
    kinds: Mapping[str, ColumnType] = field(default_factory=dict)  # of metadata, of which none is used

    @property
    def is_anomalous_S(self) -> Mask:
        return np.asarray(self.labelled.targets_SK[:, 0] == 1)

    @property
    def learned_S(self) -> Mask:
        """The normal rows of the groups that are not held out: those that the memory is made of."""
        return np.asarray(~self.valid_FS[0] & ~self.is_anomalous_S)

    @property
    def unused_S(self) -> Mask:
        """The anomalous rows of the groups that are not held out: they neither teach nor judge."""
        return np.asarray(~self.valid_FS[0] & self.is_anomalous_S)


def questions(
    config: AnomalyConfig, channels: Mapping[str, Path], *, check_settings: Callable[[], Sequence[Remark]]
) -> Questions[AnomalyTask]:
    """This algorithm's part of the check of `channels`; `check_settings` raises UserError for a network that cannot be
    used."""

    def check_masks(
        tables: Mapping[Part, SampleTable], stats: Mapping[Part, Sequence[ImageStats | UserError]]
    ) -> Sequence[Finding]:
        labels = None
        with suppress(UserError):  # the task says it
            labels = read_normal_labels(tables["training"], config)
        return mask_findings(tables, stats, labels=labels, config=config, channels=channels)

    return Questions(
        columns=wanted_columns(config),
        source=config.source,
        on_bad_image=config.on_bad_image,
        on_leak=config.on_leak,
        keeps_groups=True,
        find_copies=config.find_copies,
        image_size=config.image_size,
        fit=config.fit,
        flips="none",
        check_settings=check_settings,
        read_labels=lambda table: read_normal_labels(table, config),
        define_task=lambda table, test_table: define_task(table, config, test_table),
        check_files=check_masks,
    )


def wanted_columns(config: AnomalyConfig) -> Columns:
    """The columns that a data set must have: those that the user named."""
    named = config.model_fields_set
    return replace(
        columns_of(config),
        metadata=(),
        are_targets_needed="target_column" in named or config.normal_class is not None,
        class_name=None,
        is_group_needed="group_column" in named,
        fold=config.fold_column,
        mask=config.mask_column,
        decode_px=decode_px(config.image_size),
    )


def define_task(table: SampleTable, config: AnomalyConfig, test_table: SampleTable | None = None) -> AnomalyTask:
    """The task of the training rows. Raises UserError for classes of which none is known to be normal, for a table
    without normal rows, for too few normal groups, for a column of masks that is not there, and for cells of the test
    set that say nothing."""
    problems: list[UserError] = []
    with collecting(problems):
        mask_paths(table, config, {}, part="training")
    with collecting(problems):
        task = _define(table, config)
        if test_table is not None:
            task.labels.encode(test_table)
    raise_all(problems)
    return task


def _define(table: SampleTable, config: AnomalyConfig) -> AnomalyTask:
    labels = read_normal_labels(table, config)
    targets_S1 = labels.encode(table)
    is_normal_S = targets_S1[:, 0] == 0
    if not is_normal_S.any():
        do = "Add normal rows, or name the normal class in normal_class."
        raise UserError(f"none of the {len(table)} rows is normal", where=table.where, do=do)
    given_FS = given_folds(table)
    rows = (table, is_normal_S, config)
    valid_S = hold_out(*rows) if given_FS is None else given_hold_out(*rows, given_FS)
    task = AnomalyTask(labels, Labelled(table, TARGET, targets_S1), valid_S[None])
    _refuse_point_without_anomalous(task, config)
    return replace(task, labels=replace(labels, remarks=(*labels.remarks, *_said_of_unused(task))))


def _refuse_point_without_anomalous(task: AnomalyTask, config: AnomalyConfig) -> None:
    """Raises UserError for an operating point that is chosen on anomalous rows, where none is held out."""
    point = parse_point(config.operating_point)
    if not needs_anomalous(point) or task.is_anomalous_S[task.valid_FS[0]].any():
        return
    # hold_out takes groups with anomalous rows first, so only a given validation set can lack the table's.
    more = "move anomalous rows to the validation set" if task.is_anomalous_S.any() else "add anomalous rows"
    raise UserError(
        f"the operating point {point} needs anomalous images among the held-out ones, and there are none",
        where="hyperparameter operating_point",
        do=f"Set operating_point=specificity=0.95, sigma=3 or threshold=0.6, or {more}.",
        kind="hyperparameters",
    )


def _said_of_unused(task: AnomalyTask) -> tuple[Remark, ...]:
    """That anomalous rows are of no use, because normal rows of their groups are learned from."""
    if not (num := int(task.unused_S.sum())):
        return ()
    table = task.labelled.table
    if given_folds(table) is None:
        why, do = "normal rows of their groups are learned from", "Raise held_out to judge on more of them."
    else:
        why, do = "they are in the training set", "Move them to the validation set."
    what = f"{number_of(num, 'anomalous row')} of {int(task.is_anomalous_S.sum())} neither teach nor judge: {why}"
    return (Remark("unused_anomalous", what, do, table.where, "warning"),)
