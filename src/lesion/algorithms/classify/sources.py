"""Sources: the channels of a job to the pictures that are trained on, held out and tested on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.data.folds import SPLITS
from lesion.data.sources.csv_folder import CsvFolder, find_csv, read_csv, walk_files
from lesion.data.table import Columns, Joined, Source
from lesion.errors import UserError

TRAINING_CHANNELS = ("training", "train")
VALIDATION_CSVS = ("validation.csv", "train.csv")


def open_sources(config: ClassifyConfig, channels: Mapping[str, Path]) -> tuple[Source, Source | None]:
    """All labelled rows, a validation channel's among them and marked as held out, and the test set if there is one.

    Raises UserError for a channel, file or column that is missing, naming what there is.
    """
    training_dir = _training_channel(channels)
    training_csv = _required_csv(training_dir, ("train.csv",), "training")
    columns = labelled_columns(config, training_csv)
    training: Source = CsvFolder(training_csv, columns)
    if (validation_dir := channels.get("validation")) is not None:
        validation = CsvFolder(
            _required_csv(validation_dir, VALIDATION_CSVS, "validation"), replace(columns, fold=None)
        )
        training = Joined(training, validation)
    test_csv = find_csv(channels.get("test", training_dir), ("test.csv",))
    test = None if test_csv is None else CsvFolder(test_csv, Columns(columns.image, columns.metadata))
    return training, test


def labelled_columns(config: ClassifyConfig, csv_path: Path) -> Columns:
    """Which columns a labelled CSV must have.

    Groups are asked for where the split keeps them, and taken where they are there.
    """
    is_column = config.split not in SPLITS
    header = list(read_csv(csv_path).columns)
    if is_column and config.split not in header:
        raise UserError(
            f"split={config.split} is neither a way to split ({', '.join(SPLITS)}) nor a column",
            where=f"{csv_path}: {header}",
            do="Choose one of them, or the column that holds each row's fold.",
        )
    return Columns(
        image=config.image_column,
        target=config.target_column,
        class_name=config.class_name_column,
        group=config.group_column if "group" in config.split or config.group_column in header else None,
        fold=config.split if is_column else None,
        metadata=config.metadata_columns,
    )


def _training_channel(channels: Mapping[str, Path]) -> Path:
    for name in TRAINING_CHANNELS:
        if name in channels:
            return channels[name]
    present = ", ".join(sorted(channels)) or "none"
    raise UserError(
        "channel 'training' is missing",
        where=f"channels present: {present}",
        do="Give it the folder with train.csv and its pictures.",
    )


def _required_csv(folder: Path, names: tuple[str, ...], channel: str) -> Path:
    csv_path = find_csv(folder, names)
    if csv_path is None:
        present = ", ".join(path.relative_to(folder).as_posix() for path in walk_files(folder)[:5]) or "no files"
        raise UserError(
            f"channel '{channel}' holds no {' or '.join(names)}",
            where=f"{folder}: {present}",
            do="Put the table beside its pictures.",
        )
    return csv_path
