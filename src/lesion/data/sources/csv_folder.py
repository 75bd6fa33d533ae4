"""CSV and folder: a table of pictures beside a folder of files, as the SIIM-ISIC challenge lays them out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Self

from lesion.data import images
from lesion.data.sources.headers import with_headers
from lesion.data.sources.location import SplitLocation, walk_files
from lesion.data.sources.pictures import NamedPictures
from lesion.data.sources.rows import as_there, names_of, read_csv, table_of, with_names
from lesion.data.sources.set_names import set_of
from lesion.data.table import Columns, SampleTable
from lesion.errors import UserError, collecting, raise_all

FOLDER_ENDINGS = ("_jpg", "", "_images")  # train.csv's pictures lie in train_jpg/, train/, train_images/, or beside it
CSV_NAMES = {"train": ("train.csv",), "validation": ("validation.csv", "train.csv"), "test": ("test.csv",)}


class CsvFolder:
    """The rows of one CSV, each with a picture found by name below the CSV's folder, its ending left out or given."""

    name = "csv_folder"
    layout = "train.csv (validation.csv, test.csv) beside a folder of images"

    def __init__(self, csv_path: Path, columns: Columns) -> None:
        """Reads the CSV and lists the pictures, decoding none. Raises UserError for a missing column, cell or row."""
        self.csv_path = csv_path
        frame, folder = read_csv(csv_path), picture_folder(csv_path)
        columns = as_there(columns, frame)
        self._unreadable: dict[Path, UserError] = {}  # a set to predict: files whose header cannot be read
        if columns.is_lenient:
            frame = with_names(frame, columns, str(csv_path))
        problems: list[UserError] = []
        with collecting(problems):
            self._pictures = NamedPictures(folder, names_of(frame, columns, str(csv_path)))
            frame = with_headers(frame, self._pictures.paths, columns, self._unreadable)
        with collecting(problems):
            table = table_of(frame, columns, str(csv_path))
        raise_all(problems)
        self._table = replace(table, strays=_strays(csv_path, self._pictures, columns))

    @classmethod
    def recognise(cls, location: SplitLocation) -> str | None:
        found = set_tables(location)
        return f"it holds {found[0].relative_to(location.folder)}" if found else None

    @classmethod
    def open(cls, location: SplitLocation, columns: Columns) -> Self:
        found = set_tables(location)
        if not found:
            raise UserError(
                f"no {' or '.join(_csv_names(location))} here", where=location.folder, do="Put it beside its images."
            )
        if len(found) > 1:
            same = {path.name for path in found}
            called = f"called {found[0].name}" if len(same) == 1 else f"tables of the {location.split} set"
            raise UserError(f"{len(found)} files are {called}", where=", ".join(map(str, found[:5])), do="Leave one.")
        return cls(found[0], columns)

    def table(self) -> SampleTable:
        return self._table

    def files(self) -> list[Path]:
        return [self.csv_path, *self._pictures.found]

    def read(self, index: int) -> images.Pixels:
        path = self._pictures.paths[index]
        if path in self._unreadable:
            raise self._unreadable[path]
        return self._pictures.read(index)


def _csv_names(location: SplitLocation) -> tuple[str, ...]:
    """A validation channel's own table may be called train.csv; beside a training set only validation.csv is it."""
    return CSV_NAMES[location.split] if location.is_own else CSV_NAMES[location.split][:1]


def set_tables(location: SplitLocation) -> list[Path]:
    """The CSVs that are called as the set: train.csv wherever it lies, or else by another form: Training.csv.

    Several where it is in doubt which is meant.
    """
    csvs = [path for path in walk_files(location.folder) if path.suffix.lower() == ".csv"]
    for name in _csv_names(location):
        split = set_of(Path(name).stem)
        alike = [path for path in csvs if set_of(path.stem, is_table=True) == split]
        if found := [path for path in alike if path.name == name] or alike:
            return found
    return []


def picture_folder(csv_path: Path) -> Path:
    """Where the pictures of a CSV lie: the folder named after it, or else the CSV's own."""
    for ending in FOLDER_ENDINGS:
        folder = csv_path.parent / f"{csv_path.stem}{ending}"
        if folder.is_dir():
            return folder
    return csv_path.parent


def _strays(csv_path: Path, pictures: NamedPictures, columns: Columns) -> tuple[str, ...]:
    """The pictures that no row names, nor a row of another set's table where both share a folder."""
    strays = set(pictures.files) - set(pictures.paths)
    others = {path for names in CSV_NAMES.values() for name in names if (path := csv_path.with_name(name)).is_file()}
    for other in sorted(others - {csv_path}) if strays else []:
        if picture_folder(other) == pictures.folder:
            strays -= set(NamedPictures(pictures.folder, names_of(read_csv(other), columns, str(other))).paths)
    return tuple(sorted(map(str, strays)))
