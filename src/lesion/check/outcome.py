"""Outcome: the result of the check in a file, so that the check runs once.

It is read by the other processes of a host, and by the same job when it resumes. It holds what only decoding the
pictures shows: the rows that stay, merged groups, shortcuts. The task follows from the tables, which each reader opens.
"""

# S samples

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lesion.check.finding import Part
from lesion.check.report import FILES, Report
from lesion.check.run import Checked, Keep, Questions, T, check_before_training
from lesion.data.cache import Cache, Pictures
from lesion.data.channels import Opened
from lesion.data.quality.picture_measures import PictureMeasures
from lesion.data.table import Rows, Source
from lesion.errors import PlatformError, UserError
from lesion.files import PART, make_folder, remove, write_atomic
from lesion.job import CHECKED_FILE
from lesion.read_ahead import read_ahead

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.2
KEPT = "check."  # and a fingerprint, and .json: beside the checkpoints


@dataclass(frozen=True)
class Outcome:
    """What `take_over` makes the same Checked of, from the same channels."""

    training: list[int]  # where the rows that are trained on stand in the set as it was opened
    test: list[int] | None
    groups: list[str] | None  # of those training rows: some may share one since the check
    shortcuts: dict[str, float]
    cache: str | None = None  # where the decoded pictures lie, for the other processes of a host
    pages: dict[str, str] = field(default_factory=dict)  # the files that the check wrote, for a job that resumes
    lines: list[tuple[int, str]] = field(default_factory=list)  # what it logged, and the levels
    measures: str | None = None  # of the training pictures, as `PictureMeasures.to_text` writes them
    unreadable: list[tuple[Part, int]] = field(default_factory=list)  # rows of each set whose pictures were left out

    @classmethod
    def of(cls, checked: Checked[T]) -> Outcome:
        group_S = checked.training.table().group_S
        return cls(
            checked.training.index_S.tolist(),
            None if checked.test is None else checked.test.index_S.tolist(),
            None if group_S is None else group_S.tolist(),
            dict(checked.shortcuts),
            measures=None if checked.measures is None else checked.measures.to_text(),
        )

    def to_bytes(self) -> bytes:
        """JSON after its digest, by which an incomplete file is recognised."""
        content = json.dumps(asdict(self)).encode()
        return f"{_digest(content)}\n".encode() + content

    @classmethod
    def from_bytes(cls, content: bytes) -> Outcome | None:
        """None for a file that is not whole."""
        digest, _, rest = content.partition(b"\n")
        return cls(**json.loads(rest)) if digest == _digest(rest).encode() else None


def check_once(
    questions: Questions[T],
    channels: Mapping[str, Path],
    cache: Cache,
    *,
    process: int,
    processes: int,
    shared_dir: Path | None,
    output: Path | None,
    kept_in: Path | None,
    fingerprint: Mapping[str, Any],
    num_workers: int,
    show_progress: bool,
) -> tuple[Checked[T], Pictures]:
    """What training starts from, found out by the first process of a host, and the pictures that it decoded on the way.

    An outcome that an earlier run of the same job kept in the folder `kept_in` is taken over: `fingerprint` is what
    that run must share beside the data. Raises as `check_before_training` does. The other processes wait in
    `shared_dir`, without an end of their own: should the first one fail, the parent ends them.
    """
    opened = questions.open(channels)
    if process:
        assert shared_dir is not None  # several processes have a folder
        outcome = _wait_for(shared_dir / CHECKED_FILE)
        checked = take_over(outcome, questions, *opened.whole())
        path = None if outcome.cache is None else Path(outcome.cache)
        return checked, cache.pictures_of(path, checked.training, checked.training.index_S)
    num_workers *= processes  # the others leave their cores to this one
    cache.reserve(0 if opened.training is None else len(opened.training.table()))
    kept = None if kept_in is None else kept_in / f"{KEPT}{_fingerprint(fingerprint, opened)}.json"
    found = None if kept is None or opened.problems else _found(kept, opened, cache, output, num_workers=num_workers)
    if found is not None:
        checked = take_over(found, questions, *opened.whole())
    else:
        checked, report = check_before_training(
            questions,
            opened,
            output=output,
            num_workers=num_workers,
            show_progress=show_progress,
            keep=cache.keep,
        )
        if kept is not None and output is not None:  # of several hosts the first
            _keep(kept, Outcome.of(checked), report, output)
    pictures = cache.pictures(checked.training, checked.training.index_S)
    if processes > 1 and shared_dir is not None:
        outcome = replace(Outcome.of(checked), cache=None if cache.path is None else str(cache.path))
        write_atomic(shared_dir / CHECKED_FILE, outcome.to_bytes())
    return checked, pictures


def take_over(outcome: Outcome, questions: Questions[T], training: Source, test: Source | None) -> Checked[T]:
    """The outcome of another's check as this one's own."""
    rows = Rows(training, np.array(outcome.training, dtype=np.intp))
    if outcome.groups is not None:
        rows = Rows(training, rows.index_S, table=replace(rows.table(), group_S=np.array(outcome.groups)))
    test_rows = None if test is None else Rows(test, np.array(outcome.test, dtype=np.intp))
    task = questions.define_task(rows.table(), None if test_rows is None else test_rows.table())
    assert task is not None  # else the check had refused the table
    measures = None if outcome.measures is None else PictureMeasures.from_text(outcome.measures)
    return Checked(rows, test_rows, task, outcome.shortcuts, measures)


def forget(folder: Path) -> None:
    """Takes away the outcomes that are kept in `folder`: the job is done. A disk that refuses is a warning."""
    try:
        for path in [*folder.glob(f"{KEPT}*.json"), *folder.glob(f"{KEPT}*.json{PART}")]:
            remove(path)
    except PlatformError as error:
        log.warning("the saved check of a finished job cannot be removed: %s", error)


def _keep(path: Path, outcome: Outcome, report: Report, output: Path) -> None:
    """Writes the outcome beside the checkpoints, or warns: without it the check is made again after a kill."""
    pages = {name: (output / name).read_text() for name in FILES}
    unreadable = [
        (row.part, row.index)
        for finding in report.findings
        if finding.name == "unreadable_image"
        for row in finding.rows
    ]
    try:
        make_folder(path.parent)
        write_atomic(path, replace(outcome, pages=pages, lines=report.lines(), unreadable=unreadable).to_bytes())
    except PlatformError as error:
        log.warning("the outcome of the check cannot be saved: %s", error)


def _found(path: Path, opened: Opened, cache: Cache, output: Path | None, *, num_workers: int) -> Outcome | None:
    """The outcome that an earlier run saved, its pictures decoded into the cache if there is one; None if there is no
    valid outcome."""
    try:
        outcome = Outcome.from_bytes(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        log.warning("%s cannot be read, so the check runs again: %s", path.name, error)
        return None
    if outcome is None:
        log.warning("%s is damaged, so the check runs again", path.name)
        return None
    log.info("the check was done before this job was stopped: its outcome is read from %s", path.name)
    training, test = opened.whole()
    if mended := _mended({"training": training, "test": test}, outcome.unreadable):
        log.warning("the check runs again, since an image that could not be read then can be read now: %s", mended)
        return None
    if cache.path is not None and (broken := _unreadable(training, outcome.training, cache.keep, num_workers)):
        log.warning("the check runs again, since an image that could be read then cannot be read now: %s", broken)
        return None
    for level, line in outcome.lines:
        log.log(level, line)
    if output is not None:
        make_folder(output)
        for name, page in outcome.pages.items():
            write_atomic(output / name, page.encode())
    return outcome


def _mended(sets: Mapping[Part, Source | None], rows: Iterable[tuple[Part, int]]) -> str | None:
    """The first of these rows whose picture can be read; None if none can."""
    for part, index in rows:
        source = sets[part]
        with suppress(UserError):
            if source is not None:
                source.read(index)
                return str(source.table().name_S[index])
    return None


def _unreadable(training: Source, rows: Iterable[int], keep: Keep, num_workers: int) -> UserError | None:
    """Decodes the pictures of these rows for the cache; the first error, if there is one."""

    def read(row: int) -> UserError | None:
        try:
            keep(row, training.read(row))
        except UserError as error:
            return error
        return None

    return next(filter(None, read_ahead(read, rows, num_threads=num_workers)), None)


def _fingerprint(fingerprint: Mapping[str, Any], opened: Opened) -> str:
    """What a kept outcome depends on: the settings, and the rows of both sets as they were opened."""
    tables = [None if source is None else source.table() for source in (opened.training, opened.test)]
    data = [
        None
        if table is None
        else [table.fingerprint(), None if table.is_valid_S is None else table.is_valid_S.tolist()]
        for table in tables
    ]
    return _digest(json.dumps([fingerprint, data], sort_keys=True).encode())


def _wait_for(path: Path) -> Outcome:
    while not path.exists():
        time.sleep(LOOK_EVERY_S)
    outcome = Outcome.from_bytes(path.read_bytes())
    assert outcome is not None  # it was written whole
    return outcome


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
