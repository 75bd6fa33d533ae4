""".lst: tab-separated lists of pictures and class numbers, as SageMaker's built-in image classification takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import pandas as pd

from lesion.data.decode import images
from lesion.data.decode.reading import file_text
from lesion.data.labels.task import MAX_CLASSES
from lesion.data.numbers import is_number
from lesion.data.sources.location import SplitLocation, walk_files
from lesion.data.sources.pictures import NamedPictures
from lesion.data.sources.rows import refuse_groups, table_of
from lesion.data.sources.tables.csv_table import check_size
from lesion.data.table import Columns, SampleTable
from lesion.errors import UserError


class Lst:
    """Lines of number, label or labels, and path below the channel's folder. A sample's name is its path."""

    name = "lst"

    def __init__(self, lst_path: Path, folder: Path, columns: Columns) -> None:
        """Raises UserError for an invalid line, by its number."""
        refuse_groups(columns, ".lst files", lst_path)
        rows = parse(lst_path)
        labels = [row[:-1] for row in rows]
        names = columns.targets if len(columns.targets) == len(labels[0]) else _numbered(len(labels[0]))
        frame = pd.DataFrame(labels, columns=list(names), dtype="string")
        frame[columns.image or "image_name"] = [row[-1] for row in rows]
        table = table_of(frame, replace(columns, targets=tuple(names)), str(lst_path))
        self._pictures = NamedPictures(folder, table.name_S, decode_px=columns.decode_px)
        self._pictures.check()
        self._table = replace(table, remarks=(*table.remarks, *self._pictures.remarks))
        self._path = lst_path

    @classmethod
    def recognise(cls, location: SplitLocation) -> str | None:
        found = _lists(location) or _packed(location)
        return f"it holds {found[0].name}" if found else None

    @classmethod
    def open(cls, location: SplitLocation, columns: Columns) -> Self:
        found = _lists(location)
        if len(found) > 1:
            names = ", ".join(path.name for path in found[:3])
            raise UserError(
                f"{len(found)} lists for the {location.split} set: {names}", where=location.folder, do="Leave one."
            )
        if not found and _packed(location):
            raise UserError(
                "RecordIO is not read",
                where=_packed(location)[0],
                do="Give the .lst and the images that im2rec packed, or unpack it with mxnet.recordio.",
            )
        if not found:
            raise UserError(
                f"no .lst for the {location.split} set", where=location.folder, do="Add it, or channel train_lst."
            )
        return cls(found[0], location.folder, columns)

    def table(self) -> SampleTable:
        return self._table

    def files(self) -> list[Path]:
        return [self._path, *self._pictures.found]

    @property
    def paths(self) -> Sequence[Path | None]:
        return self._pictures.paths

    def read(self, index: int) -> images.Pixels:
        return self._pictures.read(index)


def parse(lst_path: Path) -> list[list[str]]:
    """Each line's labels as text and its path; lines without content are left out.

    Raises UserError naming the first line that is not number, labels and path, or has another count of labels.
    """
    text = file_text(lst_path, "the list cannot be read", do="Save it as UTF-8 text.")
    check_size(text.count("\t") + text.count("\n"), lst_path)
    rows: list[list[str]] = []
    for number, line in enumerate(text.split("\n"), start=1):  # not splitlines: a path may hold its rarer ends
        cells = [cell.strip() for cell in line.split("\t")]
        if not any(cells):
            continue
        if len(cells) - 2 > MAX_CLASSES:
            what = f"line {number} has {len(cells) - 2:,} labels, more than {MAX_CLASSES:,}"
            raise UserError(what, where=lst_path, do="Use one column per class.")
        is_whole = len(cells) >= 3 and cells[-1] and all(is_number(cell) for cell in cells[:-1])
        if not is_whole or (rows and len(cells) - 1 != len(rows[0])):
            raise UserError(
                f"line {number} is not number, label or labels, path: '{line[:80]}'",
                where=lst_path,
                do="Separate them by tabs, with as many labels in each line.",
            )
        rows.append(cells[1:])
    if not rows:
        raise UserError("the list has no lines", where=lst_path, do="Add one for each image.")
    return rows


def _numbered(count: int) -> Sequence[str]:
    return [f"label_{number}" for number in range(count)]


def _lists(location: SplitLocation) -> list[Path]:
    folders = [folder for folder in (location.lists, location.folder) if folder is not None]
    for folder in folders:
        if found := location.pick([path for path in walk_files(folder) if path.suffix == ".lst"]):
            return found
    return []


def _packed(location: SplitLocation) -> list[Path]:
    return location.pick([path for path in walk_files(location.folder) if path.suffix == ".rec"])
