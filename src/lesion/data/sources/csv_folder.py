"""CSV and folder: a table of pictures beside a folder of files, as the SIIM-ISIC challenge lays them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lesion.data.decode import images
from lesion.data.remark import Remark
from lesion.data.sources.class_folder import has_class_folders
from lesion.data.sources.folders.picture_folders import said_of_folders
from lesion.data.sources.folders.set_names import set_of
from lesion.data.sources.imagefolder import as_imagefolder
from lesion.data.sources.json_lines import is_json_lines_table, read_table
from lesion.data.sources.location import SplitLocation
from lesion.data.sources.pictures import NamedPictures
from lesion.data.sources.rows import as_there, names_of, table_of, with_names
from lesion.data.sources.tables.csv_table import with_remarks
from lesion.data.sources.tables.headers import with_headers
from lesion.data.sources.tables.joined_tables import find_tables, join
from lesion.data.sources.tables.known_columns import found_columns
from lesion.data.sources.tables.table_files import is_unknown, table_files, usual_names
from lesion.data.table import Columns, SampleTable
from lesion.errors import UserError, collecting, raise_all
from lesion.words import listed

FOLDER_ENDINGS = ("_jpg", "", "_images")  # train.csv's pictures lie in train_jpg/, train/, train_images/, or beside it


class CsvFolder:
    """The rows of one CSV, each with a picture found by name below the CSV's folder, its ending left out or given."""

    name = "csv_folder"

    def __init__(
        self,
        csv_path: Path,
        columns: Columns,
        *,
        root: Path | None = None,
        remarks: Sequence[Remark] = (),
        other: Path | None = None,
    ) -> None:
        """Reads the CSV, with the columns of the `other` table that is joined to it, and lists the pictures, decoding
        none; they may lie anywhere below `root`.

        Raises UserError for a missing column, cell or row, and for names that do not tell pictures apart.
        """
        self.csv_path = csv_path
        self._tables = [csv_path] if other is None else [csv_path, other]
        frame = with_remarks(read_table(csv_path), remarks)
        if other is not None:
            joined = join(frame, read_table(other), other)
            assert not isinstance(joined, str)  # else find_tables has not given it
            frame = joined
        frame, columns = as_imagefolder(frame, columns, csv_path)
        frame, columns = found_columns(frame, as_there(columns, frame), str(csv_path))
        self._unreadable: dict[Path, UserError] = {}  # a set to predict: files whose header cannot be read
        if columns.is_lenient:
            frame = with_names(frame, columns, str(csv_path))
        problems: list[UserError] = []
        with collecting(problems):
            name_S = names_of(frame, columns, str(csv_path))
            self._pictures = find_pictures(csv_path, name_S, root or csv_path.parent, decode_px=columns.decode_px)
            self._pictures.check()
            frame = with_headers(frame, self._pictures.paths, columns, self._unreadable)
        with collecting(problems):
            table = table_of(frame, columns, str(csv_path))
        raise_all(problems)
        strays, remarks = _strays(csv_path, self._pictures, columns), (*table.remarks, *self._pictures.remarks)
        remarks = (*remarks, *said_of_folders(table, self._pictures.paths, root or csv_path.parent))
        self._table = replace(table, strays=strays, remarks=remarks)

    @classmethod
    def recognise(cls, location: SplitLocation) -> str | None:
        found = table_files(location)
        if all(is_unknown(path) for path in found) and has_class_folders(location):
            return None  # some text beside class folders
        return f"it holds {listed([path.relative_to(location.folder).as_posix() for path in found])}" if found else None

    @classmethod
    def open(cls, location: SplitLocation, columns: Columns) -> Self:
        (csv_path, other), root = find_tables(location, columns), location.folder
        if csv_path.name in usual_names(location):
            return cls(csv_path, columns, root=root, other=other)
        what = f"the table of the {location.split} set is {csv_path.relative_to(location.folder).as_posix()}"
        do = "Set table_file if it is another." if location.split == "train" and not columns.table_file else ""
        return cls(csv_path, columns, root=root, remarks=[Remark("table_file", what, do, str(csv_path))], other=other)

    def table(self) -> SampleTable:
        return self._table

    def files(self) -> list[Path]:
        return [*self._tables, *self._pictures.found]

    @property
    def paths(self) -> Sequence[Path | None]:
        return self._pictures.paths

    def read(self, index: int) -> images.Pixels:
        path = self._pictures.paths[index]
        if path in self._unreadable:
            raise self._unreadable[path]
        return self._pictures.read(index)


def picture_folder(csv_path: Path) -> Path:
    """Where the pictures of a CSV lie: the folder named after it, or else the CSV's own."""
    for ending in FOLDER_ENDINGS:
        folder = csv_path.parent / f"{csv_path.stem}{ending}"
        if folder.is_dir():
            return folder
    return csv_path.parent


def find_pictures(
    csv_path: Path, name_S: NDArray[np.str_], root: Path, *, decode_px: int | None = None
) -> NamedPictures:
    """The pictures of a CSV's rows: below its own folder of pictures, or if some are missing there and more are found
    elsewhere, beside the CSV or below `root`, without the folders of other sets' tables.
    """
    own, beside = picture_folder(csv_path), csv_path.parent
    pictures = NamedPictures(own, name_S, origin=beside, decode_px=decode_px)
    without = {picture_folder(path) for path in _other_tables(csv_path)} - {beside}
    without |= other_set_folders(csv_path, root)
    for folder in (beside, root):
        if pictures.is_whole or folder == pictures.folder:
            continue
        wider = NamedPictures(folder, name_S, origin=beside, without=without, decode_px=decode_px)
        if len(wider.found) > len(pictures.found):
            pictures = wider
    return pictures


def other_set_folders(csv_path: Path, root: Path) -> set[Path]:
    """The folders of other sets, where a table lies in a folder of its own set: test/ beside train/metadata.csv."""
    found: set[Path] = set()
    for folder in csv_path.parents if csv_path.is_relative_to(root) else ():
        if folder == root:
            break
        if (own := set_of(folder.name)) is not None:
            beside = {path: set_of(path.name) for path in sorted(folder.parent.iterdir()) if path.is_dir()}
            found |= {path for path, split in beside.items() if split not in (None, own)}
    return found


def _tables_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix == ".csv" or is_json_lines_table(path))


def _other_tables(csv_path: Path) -> list[Path]:
    """The tables of other sets that lie beside this one."""
    beside = {path: set_of(path.stem, is_table=True) for path in _tables_in(csv_path.parent)}
    own = set_of(csv_path.stem, is_table=True)
    return [path for path, split in beside.items() if path != csv_path and split not in (None, own)]


def _strays(csv_path: Path, pictures: NamedPictures, columns: Columns) -> tuple[str, ...]:
    """The pictures that no row names, nor a row of another set's table where both share a folder."""
    strays = set(pictures.files) - set(pictures.paths)
    for other in _other_tables(csv_path) if strays else []:
        if picture_folder(other) == pictures.folder:
            frame, named = found_columns(read_table(other), columns, str(other))
            strays -= set(NamedPictures(pictures.folder, names_of(frame, named, str(other))).paths)
    return tuple(sorted(map(str, strays)))
