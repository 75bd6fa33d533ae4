"""PatchCamelyon: pictures and targets as arrays in HDF5 files, their slides in a CSV (Veeling et al. 2018)."""

from __future__ import annotations

import math
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from lesion.data.decode import memory
from lesion.data.decode.images import Pixels
from lesion.data.remark import Remark
from lesion.data.sources.hdf5 import Dataset
from lesion.data.sources.location import SplitLocation, walk_files
from lesion.data.sources.rows import one_target, table_of
from lesion.data.sources.tables.csv_table import read_csv
from lesion.data.table import USUAL_GROUP, Columns, SampleTable
from lesion.errors import UserError

SUFFIXES = {".h5", ".hdf5"}
SLIDE = "wsi"  # PatchCamelyon's column for the slide
MAX_ROWS = 5_000_000


class PcamHdf5:
    """Rows of `x` (uint8 [S, H, W, 3]) with the targets of `y` and the columns of a meta CSV, where they are there."""

    name = "pcam_hdf5"

    def __init__(self, x_path: Path, y_path: Path | None, meta_path: Path | None, columns: Columns) -> None:
        """Reads targets and slides, and of the pictures their shape. Raises UserError where the three do not agree."""
        self._path = x_path
        self._files = [path for path in (x_path, y_path, meta_path) if path is not None]
        self._lock = threading.Lock()
        self._open: dict[int, Dataset] = {}  # the pictures' dataset, by process: HDF5's handles do not survive a fork
        shape, dtype = self._pictures().shape or (), self._pictures().dtype
        if len(shape) != 4 or shape[3] != 3 or dtype != "uint8" or 0 in shape:
            raise UserError(f"x is {dtype} {shape}", where=x_path, do="Write it as uint8 [rows, height, width, 3].")
        if shape[0] > MAX_ROWS or shape[1] * shape[2] > memory.MAX_PIXELS:
            raise UserError(
                f"x claims {shape[0]:,} images of {shape[2]:,}×{shape[1]:,} px: more than {MAX_ROWS:,} images, or "
                f"than {memory.MAX_PIXELS:,} pixels in one",
                where=x_path,
                do="Write fewer, or smaller ones.",
            )
        frame = pd.DataFrame(index=range(shape[0])) if meta_path is None else read_csv(meta_path)
        if len(frame) != shape[0]:
            raise UserError(f"{len(frame)} rows for {shape[0]} images", where=meta_path, do="Give one row per image.")
        image_column = columns.image or "image_name"
        if image_column not in frame:
            frame[image_column] = [f"{x_path.stem}_{row:06d}" for row in range(shape[0])]
        if y_path is not None and columns.targets:
            if len(columns.targets) > 1:
                raise one_target(columns, y_path)
            frame[columns.targets[0]] = _targets(y_path, shape[0])
        remarks: list[Remark] = []
        if columns.group == USUAL_GROUP and USUAL_GROUP not in frame and SLIDE in frame:
            columns = replace(columns, group=SLIDE)
            what = f"the groups are the slides, column '{SLIDE}', since there is no column '{USUAL_GROUP}'"
            remarks = [Remark("group_column", what, "Set group_column if you mean others.", str(meta_path))]
        table = table_of(frame.astype("string"), columns, str(x_path))
        self._table = replace(table, remarks=(*table.remarks, *remarks))

    @classmethod
    def recognise(cls, location: SplitLocation) -> str | None:
        found = location.pick(_ending_in(location.folder, "x"))
        return f"it holds {found[0].name}" if found else None

    @classmethod
    def open(cls, location: SplitLocation, columns: Columns) -> Self:
        x_path = _only(location, _ending_in(location.folder, "x"), "x")
        if x_path is None:
            raise UserError(f"no *_x.h5 for the {location.split} set", where=location.folder, do="Add it, unpacked.")
        y_path = _only(location, _ending_in(location.folder, "y"), "y")
        if y_path is None and columns.are_targets_needed:
            raise UserError(f"no *_y.h5 for the {location.split} set", where=location.folder, do="Add it, unpacked.")
        metas = [path for path in walk_files(location.folder) if path.suffix == ".csv" and "meta" in path.stem]
        return cls(x_path, y_path, _only(location, metas, "meta"), columns)

    def table(self) -> SampleTable:
        return self._table

    def files(self) -> list[Path]:
        return self._files

    def read(self, index: int) -> Pixels:
        image_HWC: Pixels = self._pictures().read(index, index + 1)[0]
        return image_HWC

    def _pictures(self) -> Dataset:
        """The dataset x of this process. h5py lets one thread at a time into the library."""
        process = os.getpid()
        with self._lock:
            if process not in self._open:
                self._open[process] = Dataset(self._path, "x")
            return self._open[process]


def _ending_in(folder: Path, letter: str) -> list[Path]:
    paths = [path for path in walk_files(folder) if path.suffix.lower() in SUFFIXES]
    return [path for path in paths if path.stem.lower().endswith(letter)]


def _only(location: SplitLocation, paths: list[Path], what: str) -> Path | None:
    found = location.pick(paths)
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:3])
        raise UserError(
            f"{len(found)} {what} files for the {location.split} set: {names}", where=location.folder, do="Leave one."
        )
    return found[0] if found else None


def _targets(y_path: Path, num_rows: int) -> list[str]:
    dataset = Dataset(y_path, "y")
    shape = dataset.shape or ()
    if math.prod(shape) != num_rows or not shape or shape[0] != num_rows:
        raise UserError(f"{math.prod(shape):,} targets for {num_rows} images", where=y_path, do="Give one per image.")
    if dataset.dtype.kind not in "iufb":
        raise UserError(f"y is {dataset.dtype}", where=y_path, do="Write it as whole numbers, one per image.")
    values = dataset.read(0, num_rows).reshape(-1)
    if not (is_finite := np.isfinite(values)).all():
        row = int(is_finite.argmin())
        raise UserError(f"the target of row {row} is {values[row]}", where=y_path, do="Give each a whole number.")
    return [str(value) for value in values.tolist()]
