"""Check: everything that is known of a data set before anything is trained; what is wrong is said, or mended as asked.

Cheap questions come first: columns, targets, folds and patients before any picture is opened. `lesion check` asks them
all, whatever was wrong; training stops at the first that cannot be trained on.
"""

# S samples · K outputs

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.algorithms.classify.settle import Checked, given_folds, settle
from lesion.algorithms.classify.sources import open_sources, wanted_columns
from lesion.check.counts import crosstabs, fold_counts
from lesion.check.finding import Finding, Part, Row, raise_errors
from lesion.check.leaks import Rules, copy_leaks, group_leaks
from lesion.check.pictures import picture_findings, unreadable
from lesion.check.report import NUM_SHOWN, Report
from lesion.check.shortcuts import shortcut_findings, shortcuts
from lesion.check.tables import table_findings
from lesion.data.duplicates import Pair, find_duplicates
from lesion.data.images import Pixels
from lesion.data.labels import Labelled
from lesion.data.survey import Look, plain_features, survey
from lesion.data.table import Picked, Retold, SampleTable, Source
from lesion.errors import UserError

log = logging.getLogger(__name__)
T = TypeVar("T")
Keep = Callable[[int, Pixels], None]
Mask = NDArray[np.bool_]


def check_channels(
    config: ClassifyConfig, channels: Mapping[str, Path], *, output: Path, num_workers: int, show_progress: bool
) -> Report:
    """Everything that can be found out about the channels, also behind the first error; written below `output`."""
    report = Report("Lesion: check of " + ", ".join(str(path) for path in channels.values()))
    opened = _attempt(report.findings, lambda: open_sources(config, channels))
    if opened is None:
        report.write(output, _reader({}))
        return report
    examine(config, *opened, report=report, num_workers=num_workers, show_progress=show_progress)
    report.write(output, _reader(dict(zip(("training", "test"), opened, strict=True))))
    return report


def check_before_training(
    config: ClassifyConfig,
    training: Source,
    test: Source | None,
    *,
    output: Path | None,
    num_workers: int,
    show_progress: bool,
    keep: Keep | None = None,
) -> Checked:
    """What training starts from. Raises one UserError for all that is wrong, the cheapest questions first.

    Either way check.json and check.html lie in `output` afterwards, unless that is None. `keep` is given each training
    picture that can be read, and its row in `training`.
    """
    report = Report("Lesion: check before training")
    try:
        checked = examine(
            config,
            training,
            test,
            report=report,
            num_workers=num_workers,
            show_progress=show_progress,
            keep=keep,
            stops_early=True,
        )
        assert checked is not None  # else something was wrong, and raised
        return checked
    except UserError as error:
        if not report.num("error"):
            report.findings.append(Finding.of_error(error))
        raise
    finally:
        for finding in report.sorted_findings():
            if finding.level != "error":
                rows = f" rows: {finding.named}." if finding.named else ""
                log.log(
                    logging.WARNING if finding.level == "warning" else logging.INFO,
                    "check %s: %s.%s %s", finding.level, finding.what, rows, finding.do,
                )  # fmt: skip
        if output is not None:
            report.write(output, _reader({"training": training, "test": test}))


def examine(
    config: ClassifyConfig,
    training: Source,
    test: Source | None,
    *,
    report: Report,
    num_workers: int,
    show_progress: bool,
    keep: Keep | None = None,
    stops_early: bool = False,
) -> Checked | None:
    """Asks all questions in their order and fills the report; None where something is wrong that nobody asked to mend.

    With `stops_early` what is wrong is raised instead, as UserError: before the pictures are opened, and after.
    """
    findings = report.findings
    tables: dict[Part, SampleTable] = {"training": training.table()}
    if test is not None:
        tables["test"] = test.table()
    table, test_table = tables["training"], tables.get("test")
    for part, one in tables.items():
        findings += table_findings(one, wanted_columns(config), part=part)
        report.sets[part] = _counts(one)
    rules = _attempt(findings, lambda: Rules(config.on_leak, config.keeps_groups, given_folds(table)))
    shared = None if rules is None else group_leaks(table, test_table, rules)
    keep_S = np.ones(len(table), dtype=bool) if shared is None else shared.keep_S
    findings += [] if shared is None else shared.findings
    if stops_early:
        raise_errors(findings)
        settle(config, Picked(training, np.flatnonzero(keep_S)), test)

    looks = _look_at(training, test, num_workers=num_workers, show_progress=show_progress, keep=keep)
    for part, one in tables.items():
        findings += unreadable(one, looks[part], part=part, is_dropped=config.on_bad_image == "drop")
        findings += picture_findings(one, looks[part], part=part, image_size=config.image_size)
    keep_S &= _are_readable(looks["training"])
    if rules is not None:
        copies = copy_leaks(table, test_table, _copies(looks, keep_S, num_workers=num_workers), rules)
        findings += copies.findings
        keep_S &= copies.keep_S
        if copies.group_S is not None:
            training = Retold(training, replace(table, group_S=copies.group_S))
    if stops_early:
        raise_errors(findings)

    training = Picked(training, np.flatnonzero(keep_S))
    test = None if test is None else Picked(test, np.flatnonzero(_are_readable(looks["test"])))
    checked = _attempt(findings, lambda: settle(config, training, test)) if keep_S.any() else None
    if checked is None:
        raise_errors(findings if stops_early else [])
        return None
    seen = [look for look, keep in zip(looks["training"], keep_S, strict=True) if keep and isinstance(look, Look)]
    asked_SQ = checked.labelled.target.asked(checked.labelled.targets_SK)
    report.shortcuts = shortcuts(plain_features(seen), asked_SQ, checked.held_FS)
    findings += shortcut_findings(report.shortcuts)
    _describe(report, checked, np.flatnonzero(keep_S))
    return replace(checked, opened_S=np.flatnonzero(keep_S), shortcuts=report.shortcuts)


def _look_at(
    training: Source, test: Source | None, *, num_workers: int, show_progress: bool, keep: Keep | None
) -> dict[Part, list[Look | UserError]]:
    sources: dict[Part, Source] = {"training": training}
    if test is not None:
        sources["test"] = test
    total = sum(len(source.table()) for source in sources.values())
    with tqdm(total=total, unit="picture", desc="check", disable=not show_progress) as bar:
        return {
            part: survey(source, num_workers=num_workers, bar=bar, keep=keep if part == "training" else None)
            for part, source in sources.items()
        }


def _are_readable(looks: Sequence[Look | UserError]) -> Mask:
    return np.array([isinstance(look, Look) for look in looks], dtype=bool)


def _copies(looks: Mapping[Part, Sequence[Look | UserError]], keep_S: Mask, *, num_workers: int) -> list[Pair]:
    """The pairs of copies among the training rows that are kept and the test rows, numbered one after the other."""
    everything = [*looks["training"], *looks.get("test", [])]
    is_asked = np.concatenate([keep_S, np.ones(len(everything) - len(keep_S), dtype=bool)])
    asked = {
        index: look
        for index, look in enumerate(everything)
        if isinstance(look, Look) and is_asked[index] and not look.is_blank  # blank pictures are told by themselves
    }
    started = time.monotonic()
    pairs = find_duplicates([look.print_ for look in asked.values()], num_workers=num_workers)
    log.info("copies=%d pictures=%d seconds=%.1f", len(pairs), len(asked), time.monotonic() - started)
    index_of = list(asked)
    return [replace(pair, first=index_of[pair.first], second=index_of[pair.second]) for pair in pairs]


def _counts(table: SampleTable) -> dict[str, int]:
    return {"num_rows": len(table)} | ({} if table.group_S is None else {"num_groups": len(np.unique(table.group_S))})


def _describe(report: Report, checked: Checked, opened_S: NDArray[np.intp]) -> None:
    """What is trained on, by fold, class and metadata. `opened_S`: where its rows stand in the opened table."""
    labelled, everything_S = checked.labelled, np.ones(len(opened_S), dtype=bool)
    report.sets["training"] = labelled.counts(everything_S)
    if checked.test is not None and (test_table := checked.test.table()).targets is not None:
        test = Labelled(test_table, labelled.target, checked.labels.encode(test_table))
        report.sets["test"] = test.counts(np.ones(len(test_table), dtype=bool))
    report.folds = fold_counts(labelled, checked.held_FS)
    report.crosstabs = crosstabs(labelled)
    rng = np.random.default_rng(0)
    for name, is_class_S in labelled.target.classes(labelled.targets_SK).items():
        rows = np.flatnonzero(is_class_S)
        picked = np.sort(rng.choice(rows, min(NUM_SHOWN, len(rows)), replace=False)).tolist()
        report.examples[name] = [Row("training", int(opened_S[row]), str(labelled.table.name_S[row])) for row in picked]


def _attempt(findings: list[Finding], function: Callable[[], T]) -> T | None:
    """What `function` gives, or None, with the reason among the findings."""
    try:
        return function()
    except UserError as error:
        findings.append(Finding.of_error(error))
        return None


def _reader(sources: Mapping[Part, Source | None]) -> Callable[[Row], Pixels]:
    def read(row: Row) -> Pixels:
        source = sources[row.part]
        assert source is not None
        return source.read(row.index)

    return read
