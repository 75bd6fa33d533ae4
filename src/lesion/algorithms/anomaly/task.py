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
from lesion.algorithms.anomaly.mask_check import mask_findings
from lesion.algorithms.anomaly.masks import mask_paths
from lesion.check.finding import Finding, Part
from lesion.check.run import Questions
from lesion.check.survey import ImageStats
from lesion.data.channels import columns_of
from lesion.data.folds import Folds, given_folds
from lesion.data.labels.cells import called, texts_of
from lesion.data.labels.encode import Labelled, Labels, read_labels
from lesion.data.labels.positive_words import is_healthy
from lesion.data.labels.spelling import word_key
from lesion.data.metadata import ColumnType
from lesion.data.remark import Remark
from lesion.data.table import Columns, SampleTable
from lesion.data.transforms import decode_px
from lesion.errors import UserError, collecting, raise_all
from lesion.targets import Target
from lesion.words import listed, number_of

TARGET = Target("binary", ("normal", "anomalous"))
FEWEST_HELD_OUT = 2  # groups: they say how much normal groups differ
LEARNED = {"memory": "one to learn from", "gan": "one to learn from, one for the errors of the reconstruction"}
ZERO = {"0", "false", "no"}
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class NormalLabels:
    """What the cells of the target column say: of several classes by `labels`, of one by its word `normal_key`; both
    are None of a table without targets, whose rows are all normal."""

    labels: Labels | None = None
    is_normal_positive: bool = False  # the positive class of `labels` is the normal one
    normal_key: str | None = None
    remarks: tuple[Remark, ...] = ()

    def encode(self, table: SampleTable) -> NDArray[np.float32]:
        """1 for each anomalous row [S, 1], 0 for each normal one. Raises UserError for a cell of no class."""
        if table.targets is None:
            return np.zeros((len(table), 1), np.float32)
        if self.labels is None:
            is_other_S = [word_key(text) != self.normal_key for text in texts_of(table)]
            return np.array(is_other_S, np.float32)[:, None]
        positive_S1 = self.labels.target.judged_columns(self.labels.encode(table))
        return np.asarray(1 - positive_S1 if self.is_normal_positive else positive_S1, dtype=np.float32)

    def remarks_of(self, table: SampleTable) -> tuple[Remark, ...]:
        """What the cells of another table are taken for."""
        return () if self.labels is None else self.labels.remarks_of(table)


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
        define_task=lambda table, _: define_task(table, config),
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


def define_task(table: SampleTable, config: AnomalyConfig) -> AnomalyTask:
    """The task of the training rows. Raises UserError for classes of which none is known to be normal, for a table
    without normal rows, for too few normal groups, and for a column of masks that is not there."""
    problems: list[UserError] = []
    with collecting(problems):
        mask_paths(table, config, {}, part="training")
    with collecting(problems):
        task = _define(table, config)
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
    valid_S = hold_out(*rows) if given_FS is None else _given(*rows, given_FS)
    return AnomalyTask(labels, Labelled(table, TARGET, targets_S1), valid_S[None])


def least_learned(scorer: str) -> int:
    """The fewest groups with normal rows that a scorer learns from."""
    return 2 if scorer == "gan" else 1


def read_normal_labels(table: SampleTable, config: AnomalyConfig) -> NormalLabels:
    """Which class is normal. Raises UserError where nothing says it."""
    if table.targets is None:
        what = "the table has no target column: all rows are taken as normal"
        do = "To judge anomalous rows too, name their column in target_column."
        return NormalLabels(remarks=(Remark("all_normal", what, do, table.where),))
    keys = {word_key(text): text for text in texts_of(table)} if len(table.target_names) == 1 else {}
    if len(keys) == 1:
        return _of_one_class(*next(iter(keys.items())), table, config)
    try:
        labels = read_labels(
            table,
            positive_class=config.positive_class if config.normal_class is None else config.normal_class,
            label_separator=config.label_separator,
            task_type=config.task_type,
            on_uncertain=config.on_uncertain,
        )
    except UserError as error:  # it calls what it was given the positive class
        if config.normal_class is None:
            raise
        what, do = (text.replace("positive_class", "normal_class") for text in (error.what, error.do))
        raise UserError(what, where=error.where, do=do, kind=error.kind) from error
    names = labels.target.class_names
    if config.normal_class is not None:
        normal = labels.target.positive_class
        others = [name for name in names if name != normal]
        what = f"class '{normal}' is normal, and {listed(others)} anomalous"
        return NormalLabels(labels, True, remarks=(Remark("normal_class", what, where=table.where),))
    if not labels.target.has_binary_answer:
        raise UserError(
            f"{called(table)} holds {number_of(len(names), 'class')}: {listed(names)}, and which is normal is unclear",
            where=table.where,
            do=f"Set normal_class to one of them, such as normal_class={names[0]}.",
        )
    normal, anomalous = labels.target.answer_names
    what = f"class '{anomalous}' is anomalous, and '{normal}' normal"
    known = tuple(remark for remark in labels.remarks if remark.name != "positive_class")
    return NormalLabels(labels, remarks=(Remark("normal_class", what, where=table.where), *known))


def hold_out(table: SampleTable, is_normal_S: Mask, config: AnomalyConfig) -> Mask:
    """The rows [S] of the groups that are held out: those without a normal row, and of the others at random as many as
    hold the share `held_out` of the normal rows, FEWEST_HELD_OUT or more. Raises UserError for too few groups."""
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
    held_G = np.cumsum(counts_G[order]) - counts_G[order] < config.held_out * counts_G.sum()
    held_G[:FEWEST_HELD_OUT], held_G[-num_learned:] = True, False
    is_learned_S = np.isin(group_S, groups_G[order][~held_G])
    return np.asarray(~is_learned_S)


def _given(table: SampleTable, is_normal_S: Mask, config: AnomalyConfig, given_FS: Folds) -> Mask:
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


def _of_one_class(key: str, word: str, table: SampleTable, config: AnomalyConfig) -> NormalLabels:
    """A table whose rows are all of one class, which must be known to be the normal one."""
    wanted = None if config.normal_class is None else word_key(config.normal_class)
    if not (key == wanted or (wanted is None and (key in ZERO or is_healthy(word)))):
        do = f"Add normal rows{'' if wanted else f', or set normal_class={word} if they are'}."
        raise UserError(f"{called(table)} holds one value only, {word}: no row is normal", where=table.where, do=do)
    what = f"all rows are of class '{word}', which is normal"
    return NormalLabels(normal_key=key, remarks=(Remark("all_normal", what, where=table.where),))
