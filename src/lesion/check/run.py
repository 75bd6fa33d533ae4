"""Run: the checks of a data set before training, in their order, once per job.

All of them run, whatever the earlier ones found: settings, tables, groups, pictures, copies, and the task. All errors
are reported together, by `lesion check` and by training in the same words, or repaired as the user's policies say. An
algorithm passes its own part as functions: this file knows no algorithm.
"""

# S samples

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lesion.check.counts import crosstabs, fold_counts
from lesion.check.duplicates import Pair, find_duplicates
from lesion.check.finding import Finding, Part, TableRow, raise_errors
from lesion.check.groups import alike_findings, dealt_findings, single_findings
from lesion.check.leaks import LeakRules, Policy, copy_leaks, group_leaks
from lesion.check.pictures import picture_findings, unreadable
from lesion.check.report import NUM_SHOWN, Report
from lesion.check.shortcuts import columns_that_give_away, refuse_answers, shortcut_findings, shortcuts
from lesion.check.sides import side_findings
from lesion.check.survey import ImageStats, plain_features, survey
from lesion.check.tables import rows_aside, table_findings
from lesion.check.vocabulary import word_findings
from lesion.data.channels import Opened, open_channels
from lesion.data.decode.images import Pixels
from lesion.data.folds import Folds, given_folds
from lesion.data.labels.encode import Labelled
from lesion.data.metadata import ColumnType
from lesion.data.quality.picture_measures import PictureMeasures
from lesion.data.remark import Remark
from lesion.data.table import Columns, Rows, SampleTable, Source
from lesion.errors import UserError, collecting
from lesion.geometry import Fit, Flips
from lesion.targets import Target
from lesion.words import shortened

log = logging.getLogger(__name__)
Keep = Callable[[int, Pixels], None]
Mask = NDArray[np.bool_]


class Labels(Protocol):
    """What the cells of target columns mean to the algorithm."""

    @property
    def target(self) -> Target: ...

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """What was decided of the training table."""
        ...

    def remarks_of(self, table: SampleTable) -> tuple[Remark, ...]:
        """What the cells of another table are taken for."""
        ...

    def encode(self, table: SampleTable) -> NDArray[np.float32]:
        """The targets [S, K] of a table. Raises UserError for a cell that says none of the classes."""
        ...


class Task(Protocol):
    """What the algorithm learns from the training rows, as far as the check uses it."""

    @property
    def labels(self) -> Labels: ...
    @property
    def labelled(self) -> Labelled: ...
    @property
    def valid_FS(self) -> Folds: ...
    @property
    def kinds(self) -> Mapping[str, ColumnType]:
        """What each metadata column holds."""
        ...


T = TypeVar("T", bound=Task)
Stats = Sequence[ImageStats | UserError]  # of each row's image, or why it cannot be read


@dataclass(frozen=True)
class Questions(Generic[T]):
    """What an algorithm and its user require of a data set, and the policies where it is violated."""

    columns: Columns  # as the training set must have them
    source: str  # the format's name, or "auto"
    on_bad_image: Literal["error", "drop"]
    on_leak: Policy
    find_copies: bool
    keeps_groups: bool  # the split promises that no group lies on both sides of a fold
    image_size: int
    fit: Fit
    flips: Flips
    # What training asks beside the data, and what is said of it: network, weights. Raises UserError.
    check_settings: Callable[[], Sequence[Remark]]
    # What the target cells of the training rows mean. Raises UserError.
    read_labels: Callable[[SampleTable], Labels]
    # Of the training and the test rows; None of a lenient table that lacks a column for it. Raises UserError.
    define_task: Callable[[SampleTable, SampleTable | None], T | None]
    # What is wrong with further files that the tables name, beside what is known of each row's image.
    check_files: Callable[[Mapping[Part, SampleTable], Mapping[Part, Stats]], Sequence[Finding]] = lambda *_: ()

    def open(self, channels: Mapping[str, Path]) -> Opened:
        return open_channels(channels, self.columns, source=self.source)


@dataclass(frozen=True)
class Checked(Generic[T]):
    """A data set that can be trained on: the rows that are left of its sets, and the task."""

    training: Rows
    test: Rows | None
    task: T
    shortcuts: Mapping[str, float]  # ROC AUC by what it is reached with
    measures: PictureMeasures | None = None  # of the training rows


def check_channels(
    questions: Questions[T], channels: Mapping[str, Path], *, output: Path, num_workers: int, show_progress: bool
) -> Report:
    """Everything that can be found out about the channels; written below `output` too."""
    report = Report("Lesion: check of " + ", ".join(str(path) for path in channels.values()))
    opened = questions.open(channels)
    examine(questions, opened, report=report, num_workers=num_workers, show_progress=show_progress)
    report.write(output, reader(opened))
    return report


def check_before_training(
    questions: Questions[T],
    opened: Opened,
    *,
    output: Path | None,
    num_workers: int,
    show_progress: bool,
    keep: Keep | None = None,
) -> tuple[Checked[T], Report]:
    """The checked data for training. Raises one UserError for all that is wrong, in the words of `lesion check`.

    In both cases check.json and check.html are written to `output`, unless that is None. `keep(row, picture)` is called
    for each readable training picture.
    """
    report = Report("Lesion: check before training")
    try:
        checked = examine(
            questions, opened, report=report, num_workers=num_workers, show_progress=show_progress, keep=keep
        )
    finally:
        for level, line in report.lines():
            log.log(level, line)
        if output is not None:
            report.write(output, reader(opened))
    raise_errors(report.sorted_findings())
    assert checked is not None  # else something was wrong, and raised
    return checked, report


def examine(
    questions: Questions[T],
    opened: Opened,
    *,
    report: Report,
    num_workers: int,
    show_progress: bool,
    keep: Keep | None = None,
) -> Checked[T] | None:
    """Runs all checks in their order and fills the report; None if an error remains."""
    findings = report.findings
    with _adding(findings):
        findings += map(Finding.of_remark, questions.check_settings())
    findings += map(Finding.of_error, opened.problems)
    findings += map(Finding.of_remark, opened.remarks)
    training, test = opened.training, opened.test
    if training is None:  # nothing else can be known
        return None
    tables: dict[Part, SampleTable] = {"training": training.table()}
    if test is not None:
        tables["test"] = test.table()
    table, test_table = tables["training"], tables.get("test")
    for part, one in tables.items():
        if not opened.problems:  # else a table may be without a column that it has when it is corrected
            findings += table_findings(one, questions.columns, part=part)
        findings += map(Finding.of_remark, one.remarks)
        findings += rows_aside(one, part=part)
        report.sets[part] = _counts(one)

    rules, keep_S, leaked_S = _judge_groups(questions, tables, findings)

    stats = _survey(training, test, num_workers=num_workers, show_progress=show_progress, keep=keep)
    is_dropped = questions.on_bad_image == "drop"
    findings += _of_files(questions, tables, stats)
    keep_S &= _stays(stats["training"], is_dropped=is_dropped)

    if rules is not None:
        placed_S = keep_S if table.is_placed_S is None else keep_S & table.is_placed_S
        pairs = _copies(stats, placed_S, num_workers=num_workers) if questions.find_copies else []
        if not questions.find_copies:
            what = "find_copies=false: copies of an image in several folds or sets are not looked for"
            findings.append(Finding("note", "copies_not_searched", what, where=table.where))
        copies = copy_leaks(table, test_table, pairs, rules, concerned_S=leaked_S)
        findings += copies.findings
        keep_S &= copies.keep_S
        if copies.group_S is not None:
            table = replace(table, group_S=copies.group_S)
    if not keep_S.any():
        do = "Correct the table, or the settings by which rows are left out: on_leak and on_bad_image."
        findings.append(Finding("error", "bad_input", "no training row is left", do, where=table.where))
        return None
    keep_S &= table.is_whole_S
    index_S = np.flatnonzero(keep_S)
    rows = Rows(training, index_S, table=table.whole_rows(index_S))
    test_rows = None
    if test is not None:
        stays_S = _stays(stats["test"], is_dropped=is_dropped) & tables["test"].is_whole_S
        test_rows = Rows(test, np.flatnonzero(stays_S))

    if not keep_S.any():  # each has an empty cell, which was said
        return None
    task = _task(questions, rows, test_rows, rules, findings)
    if task is None or opened.is_partial:
        return None
    stats_S = [stats["training"][row] for row in index_S.tolist()]
    _describe(report, task, rows, test_rows, stats_S)
    measures = PictureMeasures.of([one.measures if isinstance(one, ImageStats) else None for one in stats_S])
    return None if report.num("error") else Checked(rows, test_rows, task, report.shortcuts, measures)


def _of_files(
    questions: Questions[T], tables: Mapping[Part, SampleTable], stats: Mapping[Part, Stats]
) -> Iterator[Finding]:
    """What is wrong with images, and with the files beside them that the algorithm reads."""
    for part, one in tables.items():
        yield from unreadable(one, stats[part], part=part, is_dropped=questions.on_bad_image == "drop")
        yield from picture_findings(one, stats[part], part=part, image_size=questions.image_size, fit=questions.fit)
        yield from _classes_lost(questions, tables["training"], one, stats[part], part)
    yield from questions.check_files(tables, stats)


def _classes_lost(
    questions: Questions[T], training: SampleTable, table: SampleTable, stats_S: Stats, part: Part
) -> Iterator[Finding]:
    """The classes of which no image is left once those that cannot be read are dropped."""
    keep_S = _stays(stats_S, is_dropped=questions.on_bad_image == "drop")
    if keep_S.all() or training.targets is None or table.targets is None:
        return
    lost: list[str] = []
    whole_S = np.flatnonzero(table.is_whole_S)
    with suppress(UserError):  # the task says what is wrong with the labels
        labels = questions.read_labels(training.whole_rows(np.flatnonzero(training.is_whole_S)))
        of_class = labels.target.classes(labels.encode(table.rows(whole_S)))
        lost = [name for name, is_S in of_class.items() if is_S.any() and not is_S[keep_S[whole_S]].any()]
    for name in lost:
        what = f"no {part} image of class '{shortened(name, 80)}' can be read, so the class would be gone"
        yield Finding("error", "class_lost", what, "Replace its images, or take the class out.", where=table.where)


def _judge_groups(
    questions: Questions[T], tables: Mapping[Part, SampleTable], findings: list[Finding]
) -> tuple[LeakRules | None, Mask, Mask]:
    """How leaks are judged, None where the folds of a column are wrong; the training rows [S] that stay for all that
    their groups say; and those of the others that leak."""
    table = tables["training"]
    findings += alike_findings(tables) + single_findings(tables)
    rules, keep_S, leaked_S = None, np.ones(len(table), dtype=bool), np.zeros(len(table), dtype=bool)
    with _adding(findings):
        rules = LeakRules(questions.on_leak, questions.keeps_groups, given_folds(table))
        shared = group_leaks(table, tables.get("test"), rules)
        findings += shared.findings
        keep_S, leaked_S = shared.keep_S, ~shared.keep_S
    if questions.columns.on_missing_group == "drop" and table.group_S is not None:
        keep_S = keep_S & ~table.has_own_group_S
    return rules, keep_S, leaked_S


def _task(
    questions: Questions[T],
    rows: Rows,
    test_rows: Rows | None,
    rules: LeakRules | None,
    findings: list[Finding],
) -> T | None:
    """The task of the rows that are left; None where there is none, and then mostly a finding that says why."""
    task = None
    test_table = None if test_rows is None else test_rows.table()
    with _adding(findings):
        task = questions.define_task(rows.table(), test_table)
        if task is not None:
            remarks = [*task.labels.remarks, *([] if test_table is None else task.labels.remarks_of(test_table))]
            findings += map(Finding.of_remark, remarks)
            findings += side_findings(task.labelled.target.class_names, questions.flips)
        if task is not None and questions.on_leak != "warn":
            refuse_giveaways(task)
    if task is not None and rules is not None:
        findings += dealt_findings(rows, task.valid_FS, rules)
    return task


def refuse_giveaways(task: Task) -> None:
    """Raises UserError for metadata columns that predict the target on their own, by a logistic regression each."""
    target, table = task.labelled.target, task.labelled.table
    targets_SQ = target.judged_columns(task.labelled.targets_SK)
    aucs = columns_that_give_away(table.metadata_rows(), task.kinds, targets_SQ, task.valid_FS)
    refuse_answers(aucs, where=table.where)


def reader(opened: Opened) -> Callable[[TableRow], Pixels]:
    """What gives the picture of a row of the sets as they were opened."""

    def read(row: TableRow) -> Pixels:
        source = opened.training if row.part == "training" else opened.test
        assert source is not None  # it has this row
        return source.read(row.index)

    return read


def _survey(
    training: Source, test: Source | None, *, num_workers: int, show_progress: bool, keep: Keep | None
) -> dict[Part, list[ImageStats | UserError]]:
    sources: dict[Part, Source] = {"training": training}
    if test is not None:
        sources["test"] = test
    total = sum(len(source.table()) for source in sources.values())
    with tqdm(total=total, unit="image", desc="check", disable=not show_progress) as bar:
        return {
            part: survey(source, num_workers=num_workers, bar=bar, keep=keep if part == "training" else None)
            for part, source in sources.items()
        }


def _stays(stats_S: Sequence[ImageStats | UserError], *, is_dropped: bool) -> Mask:
    """The rows [S] that unreadable pictures leave: all, where these are an error, so that no further one follows."""
    is_readable_S = np.array([isinstance(stats, ImageStats) for stats in stats_S], dtype=bool)
    return is_readable_S if is_dropped and is_readable_S.any() else np.ones(len(stats_S), dtype=bool)


def _copies(stats: Mapping[Part, Sequence[ImageStats | UserError]], keep_S: Mask, *, num_workers: int) -> list[Pair]:
    """The pairs of copies among the training rows that are kept and the test rows, numbered one after the other."""
    everything = [*stats["training"], *stats.get("test", [])]
    is_compared = np.concatenate([keep_S, np.ones(len(everything) - len(keep_S), dtype=bool)])
    compared = {
        index: one
        for index, one in enumerate(everything)
        # Not blank pictures: any two of them look alike, and they are reported as blank.
        if isinstance(one, ImageStats) and is_compared[index] and not one.is_blank
    }
    started = time.monotonic()
    pairs = find_duplicates([one.print_ for one in compared.values()], num_workers=num_workers)
    log.info("copies=%d pictures=%d seconds=%.1f", len(pairs), len(compared), time.monotonic() - started)
    index_of = list(compared)
    return [replace(pair, first=index_of[pair.first], second=index_of[pair.second]) for pair in pairs]


def _counts(table: SampleTable) -> dict[str, int]:
    group_S = table.group_S if table.group_S is None or table.is_placed_S is None else table.group_S[table.is_placed_S]
    return {"num_rows": len(table)} | ({} if group_S is None else {"num_groups": len(np.unique(group_S))})


def _describe(
    report: Report, task: Task, rows: Rows, test_rows: Rows | None, stats_S: Sequence[ImageStats | UserError]
) -> None:
    """What is trained on, by fold, class and metadata, which words are not, and how far shortcuts lead."""
    report.findings += word_findings(rows, test_rows, task.kinds)
    labelled, is_seen_S = task.labelled, np.array([isinstance(stats, ImageStats) for stats in stats_S], dtype=bool)
    seen = [stats for stats in stats_S if isinstance(stats, ImageStats)]
    judged_SQ = labelled.target.judged_columns(labelled.targets_SK)
    if seen:
        report.shortcuts = shortcuts(plain_features(seen), judged_SQ[is_seen_S], task.valid_FS[:, is_seen_S])
        report.findings += shortcut_findings(report.shortcuts)
    report.question = labelled.target.as_json()
    report.sets["training"] = labelled.counts(np.ones(len(stats_S), dtype=bool))
    if test_rows is not None and (test_table := test_rows.table()).targets is not None:
        test = Labelled(test_table, labelled.target, task.labels.encode(test_table))
        report.sets["test"] = test.counts(np.ones(len(test_table), dtype=bool))
    report.folds = fold_counts(labelled, task.valid_FS)
    report.crosstabs = crosstabs(labelled)
    rng = np.random.default_rng(0)
    for name, is_class_S in labelled.target.classes(labelled.targets_SK).items():
        of_class = np.flatnonzero(is_class_S)
        picked = np.sort(rng.choice(of_class, min(NUM_SHOWN, len(of_class)), replace=False)).tolist()
        names_S, index_S = labelled.table.name_S, rows.index_S
        report.examples[name] = [TableRow("training", int(index_S[row]), str(names_S[row])) for row in picked]


@contextmanager
def _adding(findings: list[Finding]) -> Iterator[None]:
    """Inside, a UserError ends the block and joins the findings, each of its errors once."""
    problems: list[UserError] = []
    with collecting(problems):
        yield
    findings += [finding for finding in map(Finding.of_error, problems) if finding not in findings]
