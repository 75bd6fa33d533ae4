"""CSV and folder: a table of pictures beside a folder of files, as the SIIM-ISIC challenge lays them out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lesion.data import images
from lesion.data.sources.headers import with_headers
from lesion.data.sources.place import Place, walk_files
from lesion.data.sources.rows import names_of, read_csv, table_of
from lesion.data.table import Columns, SampleTable
from lesion.errors import UserError

FOLDER_ENDINGS = ("_jpg", "", "_images")  # train.csv's pictures lie in train_jpg/, train/, train_images/, or beside it
CSV_NAMES = {"train": ("train.csv",), "validation": ("validation.csv", "train.csv"), "test": ("test.csv",)}


class CsvFolder:
    """The rows of one CSV, each with a picture found by name below the CSV's folder, its ending left out or given."""

    name = "csv_folder"
    layout = "train.csv (validation.csv, test.csv) beside a folder of pictures"

    def __init__(self, csv_path: Path, columns: Columns) -> None:
        """Reads the CSV and lists the pictures, decoding none. Raises UserError for a missing column, cell or row."""
        self.csv_path = csv_path
        frame, folder = read_csv(csv_path), picture_folder(csv_path)
        name_S, files = names_of(frame, columns, str(csv_path)), picture_files(folder)
        self._paths = find_pictures(folder, files, name_S)
        table = table_of(with_headers(frame, self._paths, columns), columns, str(csv_path))
        self._table = replace(table, strays=_strays(csv_path, files, self._paths, columns))

    @classmethod
    def recognise(cls, place: Place) -> str | None:
        names = _csv_names(place)
        found = [path for path in walk_files(place.folder) if path.name in names]
        return f"it holds {found[0].relative_to(place.folder)}" if found else None

    @classmethod
    def open(cls, place: Place, columns: Columns) -> Self:
        csv_path = find_csv(place.folder, _csv_names(place))
        if csv_path is None:
            raise UserError(
                f"no {' or '.join(_csv_names(place))} here", where=place.folder, do="Put it beside its pictures."
            )
        return cls(csv_path, columns)

    def table(self) -> SampleTable:
        return self._table

    def read(self, index: int) -> images.Pixels:
        path = self._paths[index]
        if path is None:
            raise missing_picture(self._table.name_S[index], picture_folder(self.csv_path))
        return images.read(path)


def _csv_names(place: Place) -> tuple[str, ...]:
    """A validation channel's own table may be called train.csv; beside a training set only validation.csv is it."""
    return CSV_NAMES[place.split] if place.is_own else CSV_NAMES[place.split][:1]


def find_csv(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The one file called by one of `names` in `folder` or below it; None if there is none.

    Raises UserError for several.
    """
    for name in names:
        found = sorted(path for path in walk_files(folder) if path.name == name)
        if len(found) > 1:
            raise UserError(
                f"{len(found)} files are called {name}", where=", ".join(map(str, found[:5])), do="Leave one."
            )
        if found:
            return found[0]
    return None


def picture_folder(csv_path: Path) -> Path:
    """Where the pictures of a CSV lie: the folder named after it, or else the CSV's own."""
    for ending in FOLDER_ENDINGS:
        folder = csv_path.parent / f"{csv_path.stem}{ending}"
        if folder.is_dir():
            return folder
    return csv_path.parent


def missing_picture(name: str, folder: Path) -> UserError:
    return UserError(
        "picture not found",
        where=f"{name} below {folder}",
        do="Add the file, or remove the row.",
        kind="unreadable_image",
    )


def picture_files(folder: Path) -> list[Path]:
    """All pictures below `folder`, by their endings."""
    return [path for path in walk_files(folder) if path.suffix.lower() in images.SUFFIXES]


def find_pictures(
    folder: Path, files: Sequence[Path], name_S: NDArray[np.str_], *, by_file_name: bool = False
) -> list[Path | None]:
    """Of the pictures below `folder`, `files`, that of each name, None if absent.

    A name is a relative path or a file name, with the ending or without; `by_file_name` also looks for a path that is
    not there by its last part. Raises UserError when a name fits two files, since which one is meant would be a guess.
    """
    by_path: dict[str, Path] = {}
    by_name: dict[str, set[Path]] = defaultdict(set)
    for path in files:
        relative = path.relative_to(folder)
        by_path[relative.as_posix()] = path
        for key in {path.name, path.stem, relative.with_suffix("").as_posix()}:
            by_name[key].add(path)
    found: list[Path | None] = []
    for name in name_S.tolist():
        # A whole path is never in doubt, also where its file name is there again in another folder.
        known = by_name.get(name) or (by_name.get(name.rpartition("/")[2]) if by_file_name else None)
        paths = [by_path[name]] if name in by_path else sorted(known or ())
        if len(paths) > 1:
            raise UserError(
                f"'{name}' fits {len(paths)} files",
                where=", ".join(map(str, paths[:3])),
                do="Give the path or the ending in the CSV.",
            )
        found.append(paths[0] if paths else None)
    return found


def _strays(csv_path: Path, files: Sequence[Path], paths: Sequence[Path | None], columns: Columns) -> tuple[str, ...]:
    """The pictures that no row names, nor a row of another set's table where both share a folder."""
    strays = set(files) - set(paths)
    folder = picture_folder(csv_path)
    others = {path for names in CSV_NAMES.values() for name in names if (path := csv_path.with_name(name)).is_file()}
    for other in sorted(others - {csv_path}) if strays else []:
        if picture_folder(other) == folder:
            strays -= set(find_pictures(folder, files, names_of(read_csv(other), columns, str(other))))
    return tuple(sorted(map(str, strays)))
