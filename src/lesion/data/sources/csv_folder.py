"""CSV and folder: a table of pictures beside a folder of files, as the SIIM-ISIC challenge lays them out."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion.data import images
from lesion.data.table import Columns, SampleTable
from lesion.errors import UserError

IMAGE_COLUMNS = ("image_name", "image_id")
FOLDER_ENDINGS = ("_jpg", "", "_images")  # train.csv's pictures lie in train_jpg/, train/, train_images/, or beside it


class CsvFolder:
    """The rows of one CSV, each with a picture found by name below the CSV's folder, its ending left out or given."""

    def __init__(self, csv_path: Path, columns: Columns) -> None:
        """Reads the CSV and lists the pictures, decoding none. Raises UserError for a missing column, cell or row."""
        frame = read_csv(csv_path)
        image_column = pick_image_column(frame, columns.image, csv_path)
        self.csv_path = csv_path
        self._table = _to_table(frame, replace(columns, image=image_column), csv_path)
        self._paths = find_pictures(picture_folder(csv_path), self._table.name_S)

    def table(self) -> SampleTable:
        return self._table

    def read(self, index: int) -> images.Pixels:
        path = self._paths[index]
        if path is None:
            raise UserError(
                "picture not found",
                where=f"{self._table.name_S[index]} below {picture_folder(self.csv_path)}",
                do="Add the file, or remove the row.",
            )
        return images.read(path)


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


def walk_files(folder: Path) -> list[Path]:
    """All files below `folder`, links followed, sorted. Empty files that stand for S3's "folders" are among them."""
    found = [Path(where) / name for where, _, names in os.walk(folder, followlinks=True) for name in names]
    return sorted(path for path in found if not path.name.startswith("._"))  # macOS' shadow files


def read_csv(csv_path: Path) -> pd.DataFrame:
    """The CSV as text, missing cells as NA. Raises UserError where it is not a table in UTF-8 with rows."""
    try:
        frame = pd.read_csv(csv_path, dtype="string", index_col=False, encoding="utf-8-sig", skipinitialspace=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        raise UserError(
            f"not a readable CSV: {str(error).strip()}", where=csv_path, do="Save it as UTF-8, comma-separated."
        ) from error
    if frame.empty:
        raise UserError("the CSV has no rows", where=csv_path, do="Add at least a row for each picture.")
    return frame


def pick_image_column(frame: pd.DataFrame, wanted: str | None, csv_path: Path) -> str:
    """The column with the pictures' names: the one `wanted`, or the first of IMAGE_COLUMNS that is there."""
    candidates = [wanted] if wanted else list(IMAGE_COLUMNS)
    for column in candidates:
        if column in frame.columns:
            return column
    names = " or ".join(f"'{column}'" for column in candidates)
    raise UserError(f"column {names} not found", where=f"{csv_path}: {list(frame.columns)}", do="Set image_column.")


def picture_folder(csv_path: Path) -> Path:
    """Where the pictures of a CSV lie: the folder named after it, or else the CSV's own."""
    for ending in FOLDER_ENDINGS:
        folder = csv_path.parent / f"{csv_path.stem}{ending}"
        if folder.is_dir():
            return folder
    return csv_path.parent


def find_pictures(folder: Path, name_S: NDArray[np.str_]) -> list[Path | None]:
    """The file of each name below `folder`, None if absent.

    A name is a relative path or a file name, with the ending or without. Raises UserError when a name fits two files,
    since which one is meant would be a guess.
    """
    by_path: dict[str, Path] = {}
    by_name: dict[str, set[Path]] = defaultdict(set)
    for path in walk_files(folder):
        if path.suffix.lower() in images.SUFFIXES:
            relative = path.relative_to(folder)
            by_path[relative.as_posix()] = path
            for key in {path.name, path.stem, relative.with_suffix("").as_posix()}:
                by_name[key].add(path)
    found: list[Path | None] = []
    for name in name_S.tolist():
        # A whole path is never in doubt, also where its file name is there again in another folder.
        paths = [by_path[name]] if name in by_path else sorted(by_name.get(name, ()))
        if len(paths) > 1:
            raise UserError(
                f"'{name}' fits {len(paths)} files",
                where=", ".join(map(str, paths[:3])),
                do="Give the path or the ending in the CSV.",
            )
        found.append(paths[0] if paths else None)
    return found


def _to_table(frame: pd.DataFrame, columns: Columns, csv_path: Path) -> SampleTable:
    wanted = {
        "image_column": columns.image,
        "target_column": columns.target,
        "group_column": columns.group,
        "split": columns.fold,
    }
    missing = [
        f"'{column}' ({setting})" for setting, column in wanted.items() if column and column not in frame.columns
    ]
    missing += [f"'{column}' (metadata_columns)" for column in columns.metadata if column not in frame.columns]
    if missing:
        raise UserError(
            f"columns not found: {', '.join(missing)}",
            where=f"{csv_path}: {list(frame.columns)}",
            do="Rename them, or set the hyperparameter in brackets.",
        )
    name_S = _filled(frame, columns.image, csv_path)
    repeated = name_S[pd.Series(name_S).duplicated().to_numpy()]
    if len(repeated):
        raise UserError(
            f"{len(repeated)} pictures stand in more than one row, the first: {repeated[0]}",
            where=csv_path,
            do="Keep one row a picture.",
        )
    target_S, words = (
        _binary(_filled(frame, columns.target, csv_path), csv_path, columns.target) if columns.target else (None, None)
    )
    return SampleTable(
        name_S=name_S,
        metadata=frame[list(columns.metadata)].reset_index(drop=True),
        target_S=target_S,
        group_S=_filled(frame, columns.group, csv_path) if columns.group else None,
        fold_S=_filled(frame, columns.fold, csv_path) if columns.fold else None,
        class_names=words or _class_names(frame, columns.class_name, target_S),
        image_column=columns.image or "",
    )


def _filled(frame: pd.DataFrame, column: str | None, csv_path: Path) -> NDArray[np.str_]:
    values = frame[column].str.strip()
    empty = np.flatnonzero(values.isna() | (values == ""))
    if len(empty):
        lines = ", ".join(str(row + 2) for row in empty[:5])
        raise UserError(
            f"column '{column}' is empty in {len(empty)} of {len(frame)} rows",
            where=f"{csv_path}, lines {lines}",
            do="Fill it in.",
        )
    return values.to_numpy(dtype=np.str_)


def _binary(
    text_S: NDArray[np.str_], csv_path: Path, column: str
) -> tuple[NDArray[np.float32], tuple[str, str] | None]:
    """Targets as 0.0 and 1.0, and the words they stood for where they were words."""
    values = sorted(set(text_S.tolist()))
    try:
        numbers = {value: float(value) for value in values}
    except ValueError:
        numbers = None
    if numbers is not None and set(numbers.values()) <= {0.0, 1.0}:
        return np.array([numbers[value] for value in text_S], dtype=np.float32), None
    if numbers is None and len(values) == 2:
        return (text_S == values[1]).astype(np.float32), (values[0], values[1])
    raise UserError(
        f"column '{column}' is not a yes-or-no target: {len(values)} different values, such as {', '.join(values[:5])}",
        where=csv_path,
        do="Use 0 and 1, or two words, or set target_column.",
    )


def _class_names(frame: pd.DataFrame, column: str | None, target_S: NDArray[np.float32] | None) -> tuple[str, str]:
    """The words of `column` for targets 0 and 1, if it is there and says just one for each; else "0" and "1"."""
    if column and column in frame.columns and target_S is not None:
        words = [set(frame[column][target_S == value].dropna()) for value in (0, 1)]
        if len(words[0]) == len(words[1]) == 1 and words[0] != words[1]:
            return (words[0].pop(), words[1].pop())
    return ("0", "1")
