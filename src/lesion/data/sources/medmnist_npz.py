"""MedMNIST: one NumPy archive that holds images and labels of all three sets (Yang et al. 2023)."""

# S samples · H, W pixels · K labels

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion.data.decode import memory
from lesion.data.decode.images import Pixels
from lesion.data.labels.task import MAX_CLASSES
from lesion.data.remark import Remark
from lesion.data.sources.folders.set_names import Split
from lesion.data.sources.location import SplitLocation, walk_files, walk_images
from lesion.data.sources.medmnist_classes import CLASSES, HEALTHY_IS_ONE, set_name
from lesion.data.sources.npz import names_of_arrays, read_array
from lesion.data.sources.rows import one_target, refuse_groups, table_of
from lesion.data.table import Columns, SampleTable
from lesion.errors import UserError
from lesion.words import listed

SUFFIX = ".npz"
PREFIXES: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}
CLASS_NAME = "class_name"
MAX_ROWS = 5_000_000
REWRITE = "Write it as uint8 [images, height, width] or [images, height, width, 3]."


class MedmnistNpz:
    """The images (uint8 [S, H, W] or [S, H, W, 3]) of one set, with its labels: one, or K of 0 and 1, for each."""

    name = "medmnist_npz"

    def __init__(self, path: Path, split: Split, columns: Columns) -> None:
        """Raises UserError for arrays of another kind, or that do not agree."""
        self._path = path
        refuse_groups(columns, "MedMNIST's arrays", path)
        prefix = PREFIXES[split]
        self._images = read_array(path, f"{prefix}_images")
        shape = self._images.shape
        _check_images(shape, self._images.dtype, f"{prefix}_images", path)
        names = [f"{path.stem}_{prefix}_{row:06d}" for row in range(shape[0])]
        frame = pd.DataFrame({columns.image or "image_name": names}, dtype="string")
        remarks: list[Remark] = []
        has_labels = f"{prefix}_labels" in names_of_arrays(path)
        if columns.targets and (has_labels or columns.are_targets_needed):
            labels_SK = _labels(path, f"{prefix}_labels", shape[0])
            columns = _with_labels(frame, labels_SK, columns, path)
            remarks = _remarks(columns, path) if columns.are_targets_needed else []  # of a test set they are the same
        table = table_of(frame, columns, str(path))
        self._table = replace(table, remarks=(*table.remarks, *remarks))

    @classmethod
    def recognise(cls, location: SplitLocation) -> str | None:
        found, broken = _files(location)
        if found:
            return f"{found[0].name} holds {PREFIXES[location.split]}_images"
        return f"it holds {broken[0].name}" if broken and location.is_own and not walk_images(location.folder) else None

    @classmethod
    def open(cls, location: SplitLocation, columns: Columns) -> Self:
        found, broken = _files(location)
        found = found or broken
        if len(found) != 1:
            names = f": {listed([path.name for path in found])}" if found else ""
            raise UserError(
                f"{len(found) or 'no'} .npz with {PREFIXES[location.split]}_images for the {location.split} set{names}",
                where=location.folder,
                do="Leave one." if found else "Add it.",
            )
        return cls(found[0], location.split, columns)

    @classmethod
    def open_file(cls, path: Path, columns: Columns) -> Self:
        """The test set of an archive, or the first other set that it holds. Raises UserError where it holds none."""
        names = names_of_arrays(path)
        order: tuple[Split, ...] = ("test", "validation", "train")
        held_splits = [split for split in order if f"{PREFIXES[split]}_images" in names]
        if held_splits:
            opened = cls(path, held_splits[0], columns)
            if others := " and the ".join(held_splits[1:]):
                what = f"of this archive the {held_splits[0]} set is taken, and not the {others} set"
                remark = Remark("other_sets", what, where=str(path), level="warning")
                opened._table = replace(opened._table, remarks=(*opened._table.remarks, remark))
            return opened
        held = listed([name[:40] for name in names]) or "nothing"
        raise UserError("no array called test_images", where=f"{path}: {held}", do="Call the array test_images.")

    def table(self) -> SampleTable:
        return self._table

    def files(self) -> list[Path]:
        return [self._path]

    def read(self, index: int) -> Pixels:
        image_HWC = self._images.read(index, index + 1)[0]
        if image_HWC.ndim == 2:
            image_HWC = image_HWC[..., None]
        return np.ascontiguousarray(np.broadcast_to(image_HWC, (*image_HWC.shape[:2], 3)))


def _files(location: SplitLocation) -> tuple[list[Path], list[Path]]:
    """The archives that hold images of this set, and those that cannot be read."""
    found, broken = [], []
    for path in walk_files(location.folder):
        if path.suffix.lower() == SUFFIX:
            try:
                if f"{PREFIXES[location.split]}_images" in names_of_arrays(path):
                    found.append(path)
            except UserError:  # said when it is opened, if nothing else is there
                broken.append(path)
    return found, broken


def _check_images(shape: tuple[int, ...], dtype: np.dtype[Any], name: str, path: Path) -> None:
    if dtype != "uint8" or len(shape) not in (3, 4) or shape[3:] not in ((), (1,), (3,)) or 0 in shape:
        volumes = (
            ", which are volumes; images of one slice are read" if len(shape) > 3 and shape[-1] not in (1, 3) else ""
        )
        raise UserError(f"{name} is {dtype} {shape}{volumes}", where=path, do=REWRITE)
    if shape[0] > MAX_ROWS or shape[1] * shape[2] > memory.MAX_PIXELS:
        raise UserError(
            f"{name} claims {shape[0]:,} images of {shape[2]:,}×{shape[1]:,} px: more than {MAX_ROWS:,} images, or "
            f"than {memory.MAX_PIXELS:,} pixels in one",
            where=path,
            do="Write fewer, or smaller ones.",
        )


def _labels(path: Path, name: str, num_rows: int) -> NDArray[np.int64]:
    """The labels [S, K]. Raises UserError where they are not one whole number, or several, for each image."""
    array = read_array(path, name)
    if not array.shape or array.shape[0] != num_rows or len(array.shape) > 2 or 0 in array.shape:
        what = f"{name} is {array.dtype} {array.shape}, for {num_rows} images"
        raise UserError(what, where=path, do="Write one row of labels for each image.")
    if array.dtype.kind not in "iub" or (len(array.shape) == 2 and array.shape[1] > MAX_CLASSES):
        raise UserError(
            f"{name} is {array.dtype} {array.shape}", where=path, do="Write whole numbers, one for each class."
        )
    return array.read(0, num_rows).reshape(num_rows, -1).astype(np.int64)


def _with_labels(frame: pd.DataFrame, labels_SK: NDArray[np.int64], columns: Columns, path: Path) -> Columns:
    """Adds the labels to the frame, and the names of the classes where MedMNIST's are known. The columns, with both."""
    num_labels, classes = labels_SK.shape[1], CLASSES.get(set_name(path), ())
    targets: Sequence[str] = columns.targets
    if num_labels == 1 and len(targets) > 1:
        raise one_target(columns, path)
    if num_labels > 1 and len(targets) != num_labels:
        targets = classes if len(classes) == num_labels else [f"label_{number}" for number in range(num_labels)]
    for target, label_S in zip(targets, labels_SK.T, strict=True):
        frame[target] = pd.array([str(label) for label in label_S.tolist()], dtype="string")
    columns = replace(columns, targets=tuple(targets))
    if num_labels > 1 or not classes or not 0 <= labels_SK.min() <= labels_SK.max() < len(classes):
        return columns
    frame[CLASS_NAME] = pd.array([classes[label] for label in labels_SK[:, 0].tolist()], dtype="string")
    return replace(columns, class_name=CLASS_NAME)


def _remarks(columns: Columns, path: Path) -> list[Remark]:
    name = set_name(path)
    if columns.class_name != CLASS_NAME:
        return []
    classes = ", ".join(f"{number} {word}" for number, word in enumerate(CLASSES[name]))
    what = f"the classes are named as those of {name}: {classes}"
    if name not in HEALTHY_IS_ONE:
        return [Remark("class_names", what, where=str(path))]
    do = f"If your question is the other class, set positive_class={CLASSES[name][0]}."
    return [Remark("class_names", f"{what}; 1 is the healthy one", do, where=str(path), level="warning")]
