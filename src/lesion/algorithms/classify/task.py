"""Task: what the classifier learns from a table: target, folds, and types of metadata columns. Opens no picture."""

# S samples · F folds

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.check.run import Questions
from lesion.data.channels import columns_of
from lesion.data.fold_advice import Divided, Plan, deal_folds, refuse_given_folds
from lesion.data.folds import Folds, given_folds, pooled_strata, training_masks
from lesion.data.labels.encode import Labelled, Labels, read_labels
from lesion.data.labels.new_classes import refuse_new_classes
from lesion.data.labels.task import is_open
from lesion.data.labels.typos import Typo
from lesion.data.metadata import ColumnType, MetadataEncoder, column_kinds
from lesion.data.remark import Remark
from lesion.data.table import Columns, SampleTable
from lesion.data.transforms import decode_px
from lesion.errors import UserError, collecting, raise_all
from lesion.evaluation.metrics import METRICS
from lesion.evaluation.operating_points import parse_spec
from lesion.settings import SPLITS

MOST_ASIDE = 0.2  # of all rows, with which the classes of folds are judged without those that have an empty cell
DEFAULT_SPLIT = "group_kfold"  # of the training rows of a column of sets, which has no folds
NO_GROUPS = "stratified_kfold"  # the split without groups, unless the user set one


@dataclass(frozen=True)
class Task:
    """Target, targets and folds of the training rows, and the type of each metadata column.

    With `is_last_held_back` no network is trained for the last fold: its rows are held back from all.
    """

    labels: Labels
    labelled: Labelled
    valid_FS: Folds
    kinds: Mapping[str, ColumnType]  # what each metadata column holds
    is_last_held_back: bool = False

    @property
    def trained_FS(self) -> Folds:
        """The validation masks of the folds for which a network is trained."""
        return self.valid_FS[:-1] if self.is_last_held_back else self.valid_FS

    @property
    def training_FS(self) -> Folds:
        """The rows on which each of these networks is trained."""
        return training_masks(self.trained_FS, self.held_back_S)

    @property
    def held_back_S(self) -> NDArray[np.bool_] | None:
        """The rows that are held back from all folds, if any are."""
        return self.valid_FS[-1] if self.is_last_held_back else None


def questions(config: ClassifyConfig, *, check_settings: Callable[[], Sequence[Remark]]) -> Questions[Task]:
    """The classifier's part of the check: what it needs to know of a data set before training.

    `check_settings` raises UserError for a network or weights that training could not start from, and gives what is
    said of them.
    """
    return Questions(
        columns=wanted_columns(config),
        source=config.source,
        on_bad_image=config.on_bad_image,
        on_leak=config.on_leak,
        find_copies=config.find_copies,
        keeps_groups=config.keeps_groups,
        image_size=config.image_size,
        fit=config.fit,
        flips=config.flips,
        check_settings=check_settings,
        read_labels=lambda table: _labels_of(table, config),
        define_task=lambda table, test_table: define_task(table, test_table, config),
    )


def wanted_columns(config: ClassifyConfig) -> Columns:
    """The columns that a labelled data set must have.

    The group column is required if the user set group_column or a split by groups; otherwise it is used if present.
    Frames of one file are a group without a column.
    """
    named = config.model_fields_set  # by the user; no recipe sets either of the two
    is_split_by_groups = "split" in named and "group" in config.split and config.dicom_frames != "all"
    return replace(
        columns_of(config),
        are_targets_needed=True,
        is_group_needed="group_column" in named or is_split_by_groups,
        fold=None if config.split in SPLITS else config.split,
        decode_px=decode_px(config.image_size),
    )


def define_task(table: SampleTable, test_table: SampleTable | None, config: ClassifyConfig) -> Task | None:
    """The task of the training rows; None of a lenient table that lacks a column for it.

    Raises one UserError for all targets, folds and metadata that cannot be trained on, and for test rows that cannot be
    predicted, so that these are reported before training and not after it.
    """
    problems: list[UserError] = []
    labels = labelled = valid_FS = None
    kinds: dict[str, ColumnType] = {}
    wanted = wanted_columns(config)
    has_groups = table.group_S is not None or not wanted.is_group_needed
    are_folds_known = table.fold_S is not None or table.is_valid_S is not None or table.has_sets
    has_folds = has_groups and (are_folds_known or wanted.fold is None)
    if table.targets is not None and not is_open(table):
        with collecting(problems):
            labels = _labels_of(table, config)
        problems += _new_classes(table, test_table, labels)
    if labels is not None:
        with collecting(problems):
            targets_SK = labels.encode(table)
            labels.refuse_lacking(table, targets_SK, test_table)
            labelled = Labelled(table, labels.target, targets_SK)
    if labels is not None and labelled is not None:
        if has_groups:
            with collecting(problems):
                refuse_slide_score(table, labels, config)
        with collecting(problems):
            refuse_operating_point(labels, config)
        with collecting(problems):
            refuse_prevalence(labels, config)
        with collecting(problems):
            refuse_class_weight(labels, config)
        if has_folds and not are_folds_unclear(labelled):
            with collecting(problems):
                valid_FS = choose_folds(labelled, config, labels.typos)
    with collecting(problems):
        kinds = checked_kinds(table, config)
        refuse_cells(table, test_table, kinds, config)
    raise_all(problems)
    if labels is None or labelled is None or valid_FS is None:
        return None
    return Task(labels, labelled, valid_FS, kinds, is_last_held_back=config.final_model == "soup")


def _labels_of(table: SampleTable, config: ClassifyConfig) -> Labels:
    return read_labels(
        table,
        positive_class=config.positive_class,
        label_separator=config.label_separator,
        task_type=config.task_type,
        on_uncertain=config.on_uncertain,
    )


def refuse_operating_point(labels: Labels, config: ClassifyConfig) -> None:
    """Raises UserError if one was set for several classes, of which the most probable is the answer."""
    if "operating_point" in config.model_fields_set:
        parse_spec(config.operating_point, is_multiclass=labels.target.has_multiclass_answer, where="operating_point")


def refuse_final_model(num_folds: int, table: SampleTable, config: ClassifyConfig) -> None:
    """Raises UserError for one network of all folds where there are too few folds for that."""
    needed = {"ensemble": 1, "refit": 2, "soup": 3}[config.final_model]
    if num_folds < needed:
        has_set = table.is_valid_S is not None
        what = "there is a validation set, and so one network" if has_set else f"there are {num_folds}"
        raise UserError(
            f"final_model={config.final_model} is made of {needed} folds or more, and {what}",
            where=table.where,
            do=f"Set final_model=ensemble, or {'leave the validation set out' if has_set else 'give more folds'}.",
            kind="hyperparameters",
        )


def refuse_prevalence(labels: Labels, config: ClassifyConfig) -> None:
    """Raises UserError if a prevalence of the positive class is given and there is none."""
    if config.deployment_prevalence is not None and not labels.target.has_binary_answer:
        raise UserError(
            f"deployment_prevalence={config.deployment_prevalence:g} is that of a positive class, and each class has a "
            "probability here",
            where="deployment_prevalence",
            do="Leave it out, or name the class of interest in positive_class.",
        )


def refuse_class_weight(labels: Labels, config: ClassifyConfig) -> None:
    """Raises UserError if a number is given for the positive class in the loss, where there are several classes."""
    if labels.target.kind == "multiclass" and config.class_weight not in {"none", "balanced"}:
        raise UserError(
            f"class_weight={config.class_weight:g} is the weight of a positive class, but this target has "
            f"{labels.target.num_outputs} classes",
            where="class_weight",
            do="Set class_weight to none or balanced.",
            kind="hyperparameters",
        )


def _new_classes(table: SampleTable, test_table: SampleTable | None, labels: Labels | None) -> list[UserError]:
    """What is wrong with the classes of the sets that evaluate: those of the test set, read as the training rows'; or
    where these could not be read, of both sets as words alone."""
    problems: list[UserError] = []
    if labels is not None:
        with collecting(problems):
            if test_table is not None and test_table.targets is not None:
                labels.encode(test_table)
        return problems
    training = table if table.is_valid_S is None else table.rows(~table.is_valid_S)
    with collecting(problems):
        if table.is_valid_S is not None:
            refuse_new_classes(training, table.rows(table.is_valid_S), split="validation")
    with collecting(problems):
        if test_table is not None:
            refuse_new_classes(training, test_table, split="test")
    return problems


def are_folds_unclear(labelled: Labelled) -> bool:
    """Whether what the folds lack may change once the empty cells of the table are filled in: a class that no row has
    yet, or many rows that were left aside."""
    table, targets_SK = labelled.table, labelled.targets_SK
    is_lacking = not all(is_S.any() for is_S in labelled.target.classes(targets_SK).values())
    return is_lacking or table.num_aside > MOST_ASIDE * (table.num_aside + len(table))


def refuse_slide_score(table: SampleTable, labels: Labels, config: ClassifyConfig) -> None:
    """Raises UserError if slide_score is set without groups or without a binary target."""
    judged_S = np.ones(len(table), dtype=bool) if table.is_valid_S is None else table.is_valid_S
    has_groups = table.group_S is not None and not table.has_own_group_S[judged_S].all()
    if config.slide_score != "none" and not (has_groups and labels.target.has_binary_answer):
        raise UserError(
            f"slide_score={config.slide_score} needs groups and a binary target",
            where=table.where,
            do="Set group_column to the slide's column, positive_class to a class, or slide_score=none.",
            kind="hyperparameters",
        )


def choose_folds(labelled: Labelled, config: ClassifyConfig, typos: Mapping[str, Typo] = MappingProxyType({})) -> Folds:
    """The validation masks of the folds [F, S], by the user's split or fold column.

    A validation channel is the only fold. A soup has one fold more, which is held back. Without groups, unless the user
    set a split, folds are stratified by class. `typos` are the classes that are probably another one: a refusal for
    such a class names it.
    """
    table, target, targets_SK = labelled.table, labelled.target, labelled.targets_SK
    otherwise = NO_GROUPS if table.group_S is None else "stratified_group_kfold"
    plan = Plan(otherwise, config.folds, config.repeats, config.seed, holds_back=config.final_model == "soup")
    columns = [] if table.targets is None else list(map(str, table.targets.columns))
    class_S = target.class_of(targets_SK)
    rows = Divided(
        name_S=table.name_S,
        group_S=table.group_S,
        class_S=pooled_strata(class_S, plan.num_dealt) if target.kind == "multilabel" else class_S,
        learned=target.classes(targets_SK),
        judged=target.judged_classes(targets_SK) if METRICS[config.metric].needs_both else {},
        where=table.where,
        columns=", ".join(columns),
        typos=typos,
        can_share_groups=config.on_leak != "error",
    )
    given_FS = given_folds(table)
    if given_FS is not None:
        is_column = table.is_valid_S is None
        if config.repeats > 1 and is_column:
            raise UserError(
                f"repeats={config.repeats} repeats a cross-validation with other folds, and column '{config.split}' "
                "gives the folds",
                where=table.where,
                do=f"Set repeats=1, or split={plan.split}.",
                kind="hyperparameters",
            )
        refuse_final_model(len(given_FS), table, config)
        refuse_given_folds(given_FS, rows, plan if is_column else None)
        return given_FS
    split = DEFAULT_SPLIT if table.has_sets else config.split
    split = NO_GROUPS if table.group_S is None and "group" in split else split
    plan = replace(plan, split=split)
    num_groups = len(np.unique(rows.units(plan)[0])) if split == "leave_one_group_out" else 0
    if num_groups > 1:  # of one alone `deal_folds` says more
        refuse_final_model(num_groups, table, config)
    return deal_folds(rows, plan)


def checked_kinds(table: SampleTable, config: ClassifyConfig) -> dict[str, ColumnType]:
    """The type of each metadata column. Raises UserError for a log_columns entry that is not numeric."""
    kinds = column_kinds(table.metadata_rows(), list(table.metadata.columns))
    if wrong := [name for name in config.log_columns if kinds.get(name) != "number"]:
        raise UserError(
            f"log_columns={wrong[0]} is not a metadata column of numbers",
            where=f"{table.where}: {' '.join(f'{name}={kind}' for name, kind in kinds.items()) or 'no metadata'}",
            do="Take it out, or add the column to metadata_columns.",
            kind="hyperparameters",
        )
    return kinds


def refuse_cells(
    table: SampleTable, test_table: SampleTable | None, kinds: Mapping[str, ColumnType], config: ClassifyConfig
) -> None:
    """Raises one UserError for the metadata columns with cells that cannot be made numbers of, in either table."""
    problems: list[UserError] = []
    rows, test_rows = table.metadata_rows(), [] if test_table is None else test_table.metadata_rows()
    for name, kind in kinds.items():
        where = table.where
        try:
            encoder = MetadataEncoder.fit(rows, {name: kind}, logs=config.log_columns)
            if test_table is not None:
                where = test_table.where
                encoder.encode(test_rows)
        except UserError as error:
            what = f"column '{name}': {error.what}"
            problems.append(UserError(what, where=where, do="Correct the cell, or empty it.", kind=error.kind))
    raise_all(problems)
