"""HDF5 of encoded images, as ISIC 2024 has it: a dataset for each image, named as it, that holds a JPEG's bytes."""

from __future__ import annotations

import os
import re
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pandas as pd

from lesion.data.decode import images
from lesion.data.decode.reading import MAX_PICTURE_BYTES
from lesion.data.remark import Remark
from lesion.data.sources.folders.set_names import set_in
from lesion.data.sources.hdf5 import Dataset, names_in, open_file
from lesion.data.sources.json_lines import read_table
from lesion.data.sources.location import SplitLocation, walk_files, walk_images
from lesion.data.sources.rows import as_there, table_of
from lesion.data.sources.tables.column_names import IMAGE_COLUMNS
from lesion.data.sources.tables.table_files import find_table, tables_of
from lesion.data.table import Columns, SampleTable
from lesion.errors import UserError
from lesion.words import listed

SUFFIXES = {".h5", ".hdf5"}
ARRAYS = re.compile(r"(?<![a-z])(x|y|mask)$")  # what PatchCamelyon's files end with
MOST_ARRAYS = 20  # datasets of a file that are looked at


class IsicHdf5:
    """The rows of a table, each with the image of that name in an HDF5 file; without a table the images alone."""

    name = "isic_hdf5"

    def __init__(self, hdf5_path: Path, csv_path: Path | None, columns: Columns) -> None:
        """Reads the table and the names of the images, and none of them.

        Raises UserError for a file that holds something else, and for what the table lacks.
        """
        self._path, self._csv_path, self._decode_px = hdf5_path, csv_path, columns.decode_px
        self._lock = threading.Lock()
        self._open: dict[int, Any] = {}  # the file, by process: HDF5's handles do not survive a fork
        names = names_in(self._file(), hdf5_path)
        if not names:
            raise UserError("it holds no dataset", where=hdf5_path, do="Write one for each image, named as the image.")
        first = Dataset(hdf5_path, names[0], file=self._file())
        if not first.holds_bytes:
            raise UserError(
                f"{names[0]} is {first.dtype} {first.shape} and not the bytes of an image",
                where=hdf5_path,
                do="Write the bytes of each image as a dataset named as the image (ISIC 2024), or the pixels of all as "
                "x in *_x.h5 (PatchCamelyon).",
            )
        self._known = set(names)
        remarks: list[Remark] = []
        if csv_path is None:
            frame = pd.DataFrame({columns.image or IMAGE_COLUMNS[0]: names}, dtype="string")
        else:
            frame = read_table(csv_path)
            columns = as_there(columns, frame)
            columns = self._with_image_column(columns, frame, remarks, csv_path)
        table = table_of(frame, columns, str(csv_path or hdf5_path))
        strays = tuple(f"{hdf5_path}: {name}" for name in sorted(self._known - set(table.name_S.tolist())))
        self._table = replace(table, strays=strays, remarks=(*table.remarks, *remarks))

    @classmethod
    def recognise(cls, location: SplitLocation) -> str | None:
        found, others = _files(location)
        if found:
            return f"{found[0].name} holds an encoded image in each dataset"
        return f"it holds {others[0].name}" if others and location.is_own and not walk_images(location.folder) else None

    @classmethod
    def open_file(cls, hdf5_path: Path, columns: Columns) -> Self:
        """The images of one file, with the table beside it that is of the same set, if there is one."""
        split = set_in(hdf5_path.stem)
        of_any = SplitLocation(hdf5_path.parent, "test" if split is None else split)
        of_training = [SplitLocation(hdf5_path.parent, "train")] if split is None else []
        found = (_table_beside(location, columns.table_file) for location in (of_any, *of_training))
        return cls(hdf5_path, next(filter(None, found), None), columns)

    @classmethod
    def open(cls, location: SplitLocation, columns: Columns) -> Self:
        found, others = _files(location)
        found = found or others
        if len(found) != 1:
            names = f": {listed([path.name for path in found])}" if found else ""
            raise UserError(
                f"{len(found) or 'no'} HDF5 files of encoded images for the {location.split} set{names}",
                where=location.folder,
                do="Leave one." if found else "Add it.",
            )
        csv_path = _table_beside(location, columns.table_file)
        if csv_path is None and columns.are_targets_needed:
            _refuse_arrays(found[0])
            raise UserError(
                f"no table for the images of {found[0].name}",
                where=location.folder,
                do="Add train-metadata.csv, with a row for each of its images.",
            )
        return cls(found[0], csv_path, columns)

    def table(self) -> SampleTable:
        return self._table

    def files(self) -> list[Path]:
        return [self._path] if self._csv_path is None else [self._path, self._csv_path]

    def read(self, index: int) -> images.Pixels:
        name = str(self._table.name_S[index])
        where = f"{name} in {self._path}"
        if name not in self._known:
            raise UserError(
                "image not found", where=where, do="Add its dataset, or remove the row.", kind="unreadable_image"
            )
        dataset = Dataset(self._path, name, file=self._file(), kind="unreadable_image")
        content = dataset.content(max_bytes=MAX_PICTURE_BYTES)
        return images.decode_when_it_fits(content, name=where, decode_px=self._decode_px)

    def _file(self) -> Any:
        """The file of this process. h5py lets one thread at a time into the library."""
        process = os.getpid()
        with self._lock:
            if process not in self._open:
                self._open[process] = open_file(self._path)
            return self._open[process]

    def _with_image_column(self, columns: Columns, frame: pd.DataFrame, remarks: list[Remark], where: Path) -> Columns:
        """The columns with the one that names the images: where none is called as usual, the one that holds names."""
        if columns.image is not None or set(IMAGE_COLUMNS) & set(frame.columns):
            return columns
        named = [name for name in frame.columns if frame[name].isin(self._known).any()]
        if len(named) != 1:
            return columns  # table_of says which columns there are
        what = f"column '{named[0]}' holds the names of the images in {self._path.name}"
        remarks.append(Remark("image_column", what, f"Set image_column={named[0]} to name it.", where=str(where)))
        return replace(columns, image=named[0])


def _refuse_arrays(hdf5_path: Path) -> None:
    """Raises UserError for a file that holds images and labels as two arrays: each has a file of its own here."""
    shapes: dict[str, tuple[int, ...]] = {}
    with open_file(hdf5_path) as file:
        for name in names_in(file, hdf5_path)[:MOST_ARRAYS]:
            with suppress(UserError):  # a link, or no array
                shapes[name] = Dataset(hdf5_path, name, file=file).shape or ()
    arrays = [name for name, shape in shapes.items() if len(shape) == 4]
    labels = [name for name, shape in shapes.items() for image in arrays if shape[:1] == shapes[image][:1]]
    labels = [name for name in labels if name not in arrays]
    if arrays and labels:
        raise UserError(
            f"{hdf5_path.name} holds the images '{arrays[0]}' {shapes[arrays[0]]} and the labels '{labels[0]}' in one "
            "file",
            where=hdf5_path,
            do="Write them into two files as PatchCamelyon has them: dataset 'x' (uint8 [rows, height, width, 3]) in "
            f"{hdf5_path.stem}_x.h5, dataset 'y' in {hdf5_path.stem}_y.h5.",
        )


def _files(location: SplitLocation) -> tuple[list[Path], list[Path]]:
    """The set's files that hold encoded images, and those that do not or cannot be read; without PatchCamelyon's."""
    found: list[Path] = []
    others: list[Path] = []
    paths = [path for path in walk_files(location.folder) if path.suffix.lower() in SUFFIXES]
    for path in location.pick([path for path in paths if not ARRAYS.search(path.stem.lower())]):
        try:
            (found if _holds_images(path) else others).append(path)
        except UserError:  # said when it is opened, if no image lies elsewhere
            others.append(path)
    return found, others


def _holds_images(path: Path) -> bool:
    """Whether the first dataset holds a file's bytes. Raises UserError where the file is not whole."""
    file = open_file(path)
    names = names_in(file, path)
    return bool(names) and Dataset(path, names[0], file=file).holds_bytes


def _table_beside(location: SplitLocation, chosen: str | None) -> Path | None:
    """The table of the set, found as every table is; None if there is none. Raises UserError for several."""
    is_chosen = chosen is not None and location.split == "train"
    if not is_chosen and not tables_of(location):
        return None
    return find_table(location, chosen, is_of_other_format=True)
