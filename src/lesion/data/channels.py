"""Channels: opens a job's input folders as training, validation and test sets."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lesion.data.remark import Remark
from lesion.data.sources.formats import find_format, recognised
from lesion.data.sources.location import SplitLocation
from lesion.data.table import Columns, Concat, Source
from lesion.errors import UserError, collecting, raise_all
from lesion.settings import DataSettings

TRAINING_CHANNELS = ("training", "train")


@dataclass(frozen=True)
class Opened:
    """A job's data sets, and the errors of their tables; None for a set that is absent or could not be opened.

    A validation channel's rows are among the training rows, marked as such. `is_partial`: a training table lacks a
    column or a cell, and was opened without it, so that the rest can be checked in the same pass.
    """

    training: Source | None
    test: Source | None
    problems: tuple[UserError, ...] = ()
    is_partial: bool = False
    remarks: tuple[Remark, ...] = ()  # of the channels; each table has its own

    def whole(self) -> tuple[Source, Source | None]:
        """The training and the test set. Raises one UserError for all the problems."""
        raise_all(self.problems)
        assert self.training is not None  # else there was a problem
        return self.training, self.test


def open_channels(channels: Mapping[str, Path], columns: Columns, *, source: str = "auto") -> Opened:
    """The sets in the channels, with `columns` as the training set must have them, in the format called `source`.

    A channel, file or column that is missing is among the problems, with what there is instead.
    """
    channel = next((name for name in TRAINING_CHANNELS if name in channels), None)
    if channel is None:
        present = ", ".join(sorted(channels)) or "none"
        problem = UserError(
            "channel 'training' is missing",
            where=f"channels present: {present}",
            do="Give it the folder with the images and their table.",
        )
        return Opened(None, None, (problem,))
    problems: list[UserError] = []
    location = SplitLocation(channels[channel], "train", lists=channels.get("train_lst"))
    training = _open(location, columns, source, problems)
    if "validation" in channels:
        location = SplitLocation(channels["validation"], "validation", lists=channels.get("validation_lst"))
        validation = _open(location, replace(columns, fold=None), source, problems)
        are_both = training is not None and validation is not None
        training = Concat(training, validation) if are_both else None  # type: ignore[arg-type]
    is_partial = bool(problems)
    test = _open_test(channels, channel, columns.optional(), source, problems)
    return Opened(training, test, tuple(problems), is_partial)


def columns_of(settings: DataSettings) -> Columns:
    """The columns that the user's settings name, taken where they are there; an algorithm adds which it needs."""
    return Columns(
        image=settings.image_column,
        metadata=settings.metadata_columns,
        targets=settings.target_column,
        class_name=settings.class_name_column,
        group=settings.group_column,
    )


def _open_test(
    channels: Mapping[str, Path], channel: str, columns: Columns, source: str, problems: list[UserError]
) -> Source | None:
    """The test channel's rows, or those of a test set in the training channel; None if there are none."""
    if "test" in channels:
        return _open(SplitLocation(channels["test"], "test"), columns, source, problems)
    location = SplitLocation(channels[channel], "test", is_own=False)
    with collecting(problems):
        if recognised(location, source=source):
            return _open(location, columns, source, problems)
    return None


def _open(location: SplitLocation, columns: Columns, source: str, problems: list[UserError]) -> Source | None:
    """The set at `location`. Errors are added to `problems`, and then it is opened without what it lacks, or if
    that is too much, its pictures alone."""
    found = None
    with collecting(problems):
        found = find_format(location, source=source)
        return found.open(location, columns)
    pictures = Columns(columns.image, metadata=())
    for rest in (columns, pictures) if found is not None else ():
        with suppress(UserError):  # else it says the same again
            return found.open(location, replace(rest, is_lenient=True))
    return None
