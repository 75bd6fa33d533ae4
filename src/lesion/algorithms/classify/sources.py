"""Sources: the channels of a job to the pictures that are trained on, held out and tested on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lesion.algorithms.classify.config import ClassifyConfig
from lesion.data.folds import SPLITS
from lesion.data.sources.formats import open_source, recognised
from lesion.data.sources.place import Place
from lesion.data.table import Columns, Joined, Source
from lesion.errors import UserError

TRAINING_CHANNELS = ("training", "train")


def open_sources(config: ClassifyConfig, channels: Mapping[str, Path]) -> tuple[Source, Source | None]:
    """All labelled rows, a validation channel's among them and marked as held out, and the test set if there is one.

    Raises UserError for a channel, file or column that is missing, naming what there is.
    """
    training_channel = _training_channel(channels)
    columns = wanted_columns(config)
    lists = channels.get("train_lst")
    training = open_source(Place(channels[training_channel], "train", lists=lists), columns, source=config.source)
    if (folder := channels.get("validation")) is not None:
        lists = channels.get("validation_lst")
        place = Place(folder, "validation", lists=lists)
        training = Joined(training, open_source(place, replace(columns, fold=None), source=config.source))
    unlabelled = any_columns(config)
    if "test" in channels:
        return training, open_source(Place(channels["test"], "test"), unlabelled, source=config.source)
    place = Place(channels[training_channel], "test", is_own=False)
    has_test = recognised(place, source=config.source)
    return training, open_source(place, unlabelled, source=config.source) if has_test else None


def wanted_columns(config: ClassifyConfig) -> Columns:
    """Which columns a labelled set must have.

    Groups are asked for where the split keeps them, and taken where they are there.
    """
    return Columns(
        image=config.image_column,
        metadata=config.metadata_columns,
        targets=config.target_column,
        are_targets_needed=True,
        class_name=config.class_name_column,
        group=config.group_column,
        is_group_needed="group" in config.split,
        fold=None if config.split in SPLITS else config.split,
    )


def any_columns(config: ClassifyConfig) -> Columns:
    """The same columns where they are there; none is needed."""
    return replace(wanted_columns(config), are_targets_needed=False, is_group_needed=False, fold=None)


def _training_channel(channels: Mapping[str, Path]) -> str:
    for name in TRAINING_CHANNELS:
        if name in channels:
            return name
    present = ", ".join(sorted(channels)) or "none"
    raise UserError(
        "channel 'training' is missing",
        where=f"channels present: {present}",
        do="Give it the folder with the pictures and their table.",
    )
