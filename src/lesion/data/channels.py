"""Channels: opens a job's input folders as training, validation and test sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from lesion.data.labels.uncertain import settled
from lesion.data.remark import Remark
from lesion.data.sets import divided, unused_sets
from lesion.data.sources.channel_names import read_channel_names, training_is_missing
from lesion.data.sources.folders.set_names import Split
from lesion.data.sources.formats import find_format, recognised
from lesion.data.sources.frames import with_frames
from lesion.data.sources.location import Format, SplitLocation
from lesion.data.sources.once import once
from lesion.data.sources.unread import unread
from lesion.data.table import Columns, Concat, Rows, Source
from lesion.errors import UserError, collecting, raise_all
from lesion.settings import InputSettings

COLUMN_SETTINGS = {"image_column", "target_column", "group_column", "metadata_columns"}


@dataclass(frozen=True)
class Opened:
    """A job's data sets, and the errors of their tables; None for a set that is absent or could not be opened.

    A validation set's rows are among the training rows, marked as such. `is_partial`: a training table lacks a
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

    Validation and test sets have channels of their own, or lie in the training channel. A channel, file or column that
    is missing is among the problems, with what there is instead; what nothing reads is among the remarks.
    """
    names = read_channel_names(channels)
    if "training" not in names.folders:
        problem = training_is_missing(channels)
        return Opened(None, None, (problem, *names.problems), remarks=tuple(names.remarks))
    sets = _Sets(names.folders, source, names.problems, names.remarks)
    with once():
        sets.open("train", columns)
        columns = _as_in(sets.opened.get("train"), columns)
        sets.open("validation", replace(columns, fold=None))
        is_partial = bool(sets.problems)
        sets.open("test", columns.optional())
        opened = sets.finished()
    training, test = opened.get("train"), opened.get("test")
    if training is not None:
        num = len(sets.problems)
        training, test = _by_column(training, test, columns, sets)
        is_partial = is_partial or len(sets.problems) > num
    if "validation" in sets.wanted:
        both = training, opened.get("validation")
        training = None if None in both else Concat(*both)  # type: ignore[arg-type]
    return Opened(training, test, tuple(sets.problems), is_partial, tuple(sets.remarks))


def _as_in(training: Source | None, columns: Columns) -> Columns:
    """The columns as they were found in a training table of known columns: those of the other sets are the same."""
    found = None if training is None else training.table().columns
    if found is None or found.known is None:
        return columns
    return replace(
        columns,
        image=found.image,
        targets=found.targets,
        group=found.group,
        usual_metadata=found.usual_metadata,
        known=found.known,
        unset=frozenset(),
    )


def columns_of(settings: InputSettings) -> Columns:
    """The columns that the user's settings name, taken where they are there; an algorithm adds which it needs."""
    return Columns(
        unset=frozenset(COLUMN_SETTINGS - settings.model_fields_set),
        table_file=settings.table_file,
        image=settings.image_column,
        metadata=settings.metadata_columns,
        targets=settings.target_column,
        class_name=settings.class_name_column,
        group=settings.group_column,
        on_missing_group=settings.on_missing_group,
        on_uncertain=settings.on_uncertain,
        frames=settings.dicom_frames,
    )


@dataclass
class _Sets:
    """The sets of a job as they are opened one after the other, and what is said of them."""

    folders: Mapping[str, Path]  # by channel
    source: str
    problems: list[UserError]
    remarks: list[Remark]
    wanted: set[Split] = field(default_factory=set)  # those that there are, whether they could be opened or not
    opened: dict[Split, Format] = field(default_factory=dict)
    columns: dict[Split, Columns] = field(default_factory=dict)  # as they were wanted of each

    def open(self, split: Split, columns: Columns) -> None:
        """Opens the set from its channel, or else from the training channel, if there is one in either."""
        inside = SplitLocation(self.folders["training"], split, is_own=False)
        if split == "train":
            location = SplitLocation(self.folders["training"], split, lists=self.folders.get("train_lst"))
        elif split in self.folders:
            location = SplitLocation(self.folders[split], split, lists=self.folders.get(f"{split}_lst"))
        elif self._is_inside(inside):
            location = inside
        else:
            return
        self.wanted.add(split)
        self.columns[split] = columns
        found = _open(location, columns, self.source, self.problems)
        if found is None:
            return
        self.opened[split] = found
        if location is inside and split == "validation":
            self.remarks.append(_held_out(found))
        if split != "train" and location is not inside and self._is_inside(inside):
            what = f"the {split} set in channel training is not read, because there is a channel {split}"
            self.remarks.append(Remark("set_not_read", what, where=str(inside.folder), level="warning"))

    def finished(self) -> dict[Split, Source]:
        """The sets without the rows that `on_uncertain` leaves out, their images without a row being those that no set
        uses; adds what nothing of a channel reads."""
        used = {path for source in self.opened.values() for path in source.files()}
        used |= {path for split in self.opened for path in self._masks(split)}
        masks: set[Path] = set()
        folders = dict.fromkeys(path for name, path in self.folders.items() if name != "pretrained")
        strays = {Path(stray) for source in self.opened.values() for stray in source.table().strays} - used
        if len(self.opened) == len(self.wanted):  # else it is not known what the others would read
            for folder in folders:
                found = unread(folder, used, strays)
                self.remarks += found.remarks
                masks |= found.masks
        finished: dict[Split, Source] = {}
        for split, opened in self.opened.items():
            source: Source = with_frames(opened, self.columns[split].frames)
            table = source.table()
            left = tuple(stray for stray in table.strays if Path(stray) in strays and Path(stray) not in masks)
            rows = source if left == table.strays else Rows(source, table=replace(table, strays=left))
            with collecting(self.problems):
                finished[split] = settled(rows, self.columns[split])
        return finished

    def _masks(self, split: Split) -> Iterator[Path]:
        """The files that a set's column of masks names."""
        column, others = self.columns[split].mask, self.opened[split].table().others
        if column is not None and others is not None and column in others.columns:
            folder = self.folders.get(split, self.folders["training"])
            yield from (folder / str(cell).strip() for cell in others[column].dropna())

    def _is_inside(self, location: SplitLocation) -> bool:
        with collecting(self.problems):
            return bool(recognised(location, source=self.source))
        return False


def _by_column(training: Source, test: Source | None, columns: Columns, sets: _Sets) -> tuple[Source, Source | None]:
    """The training and the test set, where the fold column names sets. Two validation or test sets, and a column that
    names them wrongly, are among the problems; the training set is then without the column."""
    if columns.fold is None:
        sets.remarks += unused_sets(training.table())
        return training, test
    test_rows = None
    try:
        training, test_rows = divided(training, columns.fold)
    except UserError as error:
        sets.problems.append(error)
        return Rows(training, table=replace(training.table(), fold_S=None)), test
    where, do = training.table().where, "Leave one of the two out."
    if training.table().is_valid_S is not None and "validation" in sets.wanted:
        what = "there are two validation sets: the validation channel, and rows of the column that split names"
        sets.problems.append(UserError(what, where=where, do=do))
    if test is not None and test_rows is not None:
        what = f"there are two test sets: {test.table().where}, and rows of the column that split names"
        sets.problems.append(UserError(what, where=where, do=do))
    return training, test_rows if test is None else test


def _held_out(source: Format) -> Remark:
    table = source.table()
    return Remark(
        "validation_set",
        f"{len(table)} rows are the validation set, because it lies in the training channel: one network is trained "
        "and evaluated on them, and there is no cross-validation",
        "For cross-validation, move its rows and images into the training set, or out of the channel.",
        table.where,
        "warning",
    )


def _open(location: SplitLocation, columns: Columns, source: str, problems: list[UserError]) -> Format | None:
    """The set at `location`. Errors are added to `problems`, and then it is opened without what it lacks, or if
    that is too much, its pictures alone."""
    found: type[Format] | None = None
    with collecting(problems):
        found = find_format(location, source=source)
        return found.open(location, columns)
    pictures = Columns(
        columns.image, metadata=(), table_file=columns.table_file, unset=columns.unset & {"image_column"}
    )
    for rest in (columns, pictures) if found is not None else ():
        with suppress(UserError):  # else it says the same again
            return found.open(location, replace(rest, is_lenient=True))
    return None
