"""Imagefolder: the table of Hugging Face's imagefolder, metadata.jsonl or .csv, which names images in file_name.

It is a table as others are; here is only what its own columns mean, and what is said where it has no label.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from lesion.data.remark import Remark
from lesion.data.sources.tables.column_names import IMAGE_COLUMNS
from lesion.data.sources.tables.csv_table import with_remarks
from lesion.data.sources.tables.known_tables import USUAL_NAMES
from lesion.data.sources.tables.plain_name import plain
from lesion.data.table import Columns
from lesion.errors import UserError
from lesion.words import listed, shortened

STEM, FILE_NAME = "metadata", "file_name"
MOST_NAMED = 10


def as_imagefolder(frame: pd.DataFrame, columns: Columns, table_path: Path) -> tuple[pd.DataFrame, Columns]:
    """The columns with the image's, where it is unset and the table an imagefolder's; a remark says so.

    Raises UserError where a label is needed and no column is set or known as one.
    """
    there = {plain(name): str(name) for name in frame.columns}
    is_image_set = columns.image is not None and "image_column" not in columns.unset
    if table_path.stem.casefold() != STEM or FILE_NAME not in there or is_image_set:
        return frame, columns
    if any(name in there for name in IMAGE_COLUMNS):
        return frame, columns
    has_target = all(plain(name) in there for name in columns.targets)
    labels = [there[name] for name in USUAL_NAMES["target_column"] if name in there]
    is_guessable = "target_column" in columns.unset and len(labels) == 1
    if columns.are_targets_needed and not columns.is_lenient and not has_target and not is_guessable:
        names = listed([shortened(name, 80) for name in there.values()], most=MOST_NAMED)
        raise UserError(
            f"{table_path.name} of a Hugging Face imagefolder has "
            + ("several columns that may be the label" if len(labels) > 1 else "no column of labels")
            + f": it has {names}",
            where=table_path,
            do="Set target_column to the one that is the label, or add a column `label`; if the folders of the images "
            "are the classes, set source=class_folder.",
        )
    what = f"{table_path.name} is read as that of a Hugging Face imagefolder: {there[FILE_NAME]} names the images"
    remark = Remark("imagefolder", what, where=str(table_path))
    image = there[FILE_NAME]
    return with_remarks(frame, [remark]), replace(columns, image=image, unset=columns.unset - {"image_column"})
