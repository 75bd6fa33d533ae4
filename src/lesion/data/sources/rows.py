"""Rows: a frame of text columns → a table, with the columns that are wanted or a clear word. All sources end here."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion.data.reading import file_text, reading
from lesion.data.table import USUAL_METADATA, Columns, SampleTable
from lesion.errors import UserError, collecting, raise_all
from lesion.words import listed, nearest, shortened

IMAGE_COLUMNS = ("image_name", "image_id")
MAX_CELLS = 50_000_000  # of a table: some gigabytes once they are words of their own
MAX_CELL = 4096  # characters, as a path may have
MAX_COLUMN = 1 << 29  # characters: as an array of text a column takes its longest cell in every row, 4 bytes each


def read_csv(csv_path: Path) -> pd.DataFrame:
    """The CSV as text, missing cells as NA. Raises UserError where it is not a table in UTF-8 with rows."""
    what, do = "not a readable CSV", "Save it as UTF-8, comma-separated."
    text = file_text(csv_path, what, do=do)
    _refuse_other_separators(text.partition("\n")[0].strip(), csv_path)
    check_size(text.count(",") + text.count("\n"), csv_path)
    content = text.encode()  # a StringIO would take four bytes a character
    with reading(csv_path, what, do=do), warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header would lose cells
        frame = pd.read_csv(io.BytesIO(content), dtype="string", index_col=False, skipinitialspace=True)
        header = pd.read_csv(io.BytesIO(content), dtype="string", header=None, nrows=1, skipinitialspace=True)
    if twice := [name for name, count in Counter(header.iloc[0].dropna()).items() if count > 1]:
        raise UserError(f"the header names '{twice[0][:80]}' twice", where=csv_path, do="Rename or remove a column.")
    if frame.empty:
        raise UserError("the CSV has no rows", where=csv_path, do="Add at least a row for each image.")
    return frame


def _refuse_other_separators(header: str, csv_path: Path) -> None:
    """Raises UserError for a header that commas do not separate, and semicolons or tabs do."""
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if separator in header and "," not in header:
            raise UserError(
                f"the header '{shortened(header, 80)}' is one column: the table seems to be separated by {name}",
                where=csv_path,
                do="Save it comma-separated.",
            )


def frame_of(rows: Sequence[Mapping[str, str]], where: object) -> pd.DataFrame:
    """Rows of text by column name as a frame, missing cells as NA. Raises UserError for more cells than fit."""
    names = dict.fromkeys(name for row in rows for name in row)
    check_size(len(names) * len(rows), where)
    return pd.DataFrame(rows, columns=list(names), dtype="string")


def check_size(num_cells: int, where: object) -> None:
    """Raises UserError for a table of more cells than are taken apart."""
    if num_cells > MAX_CELLS:
        raise UserError(
            f"the table has {num_cells:,} cells, more than {MAX_CELLS:,}",
            where=where,
            do="Leave columns out that nothing uses, or give smaller parts.",
        )


def table_of(frame: pd.DataFrame, columns: Columns, where: str) -> SampleTable:
    """The table that `columns` picks of a frame of text, one row a picture.

    Raises one UserError for every column which is missing, and for empty cells, cells too long and repeated pictures.
    A lenient table is without the columns that are missing, and its empty cells are "". A row without its group or
    its fold is a group of its own there, in any fold: `is_placed_S` says which.
    """
    columns = as_there(columns, frame)
    if columns.is_lenient:
        columns = _those_there(columns, frame)
    problems: list[UserError] = []
    with collecting(problems):
        name_S = names_of(frame, columns, where)
    has_targets = columns.are_targets_needed or all(column in frame.columns for column in columns.targets)
    has_group = columns.is_group_needed or columns.group in frame.columns
    metadata = columns.metadata
    if metadata is None:
        metadata = tuple(column for column in USUAL_METADATA if column in frame.columns)
    to_fill = [("target_column", column) for column in columns.targets] if has_targets else []
    to_fill += [("group_column", columns.group)] if has_group and columns.group else []
    to_fill += [("split", columns.fold)] if columns.fold else []
    wanted = [*to_fill, *(("metadata_columns", column) for column in metadata)]
    missing = [(setting, column) for setting, column in wanted if column not in frame.columns]
    if missing:
        named = [f"'{column}' ({setting}{_meant(column, frame)})" for setting, column in missing]
        problems.append(
            UserError(
                f"columns not found: {', '.join(named)}",
                where=where,
                do=f"The table has {_headers(frame)}. Rename them, or set the hyperparameter in brackets.",
            )
        )
    has_names = columns.class_name in frame.columns
    for column in (*metadata, *([columns.class_name] if has_names and columns.class_name else [])):
        if column in frame.columns:
            with collecting(problems):
                _check_lengths(frame[column], column, where)
    filled = {}
    for _, column in to_fill:
        if column in frame.columns:
            with collecting(problems):
                filled[column] = _filled(frame, column, where, is_lenient=columns.is_lenient)
    raise_all(problems)
    is_placed_S = None
    if columns.is_lenient:
        placing = [column for column in (columns.group if has_group else None, columns.fold) if column]
        is_placed_S = np.all([np.ones(len(frame), dtype=bool), *(filled[column] != "" for column in placing)], axis=0)
        for column in placing:
            instead_S = name_S if column == columns.group else np.full(len(frame), max(filled[column].tolist()))
            filled[column] = np.where(is_placed_S, filled[column], instead_S)
    image_column = pick_image_column(frame, columns.image, where)
    used = {image_column, columns.class_name, columns.group, columns.fold, *metadata, *columns.targets}
    return SampleTable(
        name_S=name_S,
        metadata=frame[list(metadata)].reset_index(drop=True),
        targets=pd.DataFrame({column: filled[column] for column in columns.targets})
        if columns.targets and has_targets
        else None,
        class_name_S=frame[columns.class_name].fillna("").to_numpy(dtype=np.str_) if has_names else None,
        group_S=filled[columns.group] if columns.group and has_group else None,
        fold_S=filled[columns.fold] if columns.fold else None,
        is_placed_S=is_placed_S,
        others=frame[[column for column in frame.columns if column not in used]].reset_index(drop=True),
        image_column=image_column,
        where=where,
    )


def names_of(frame: pd.DataFrame, columns: Columns, where: str) -> NDArray[np.str_]:
    """The pictures' names. Raises UserError if one is empty or in two rows."""
    problems: list[UserError] = []
    column = pick_image_column(frame, columns.image, where)
    with collecting(problems):
        name_S = _filled(frame, column, where)
    text_S = frame[column].str.strip().fillna("")
    repeated = text_S[text_S.duplicated() & (text_S != "")]
    if len(repeated):
        images = f"{len(repeated)} images are" if len(repeated) > 1 else "1 image is"
        problems.append(
            UserError(
                f"{images} in more than one row, the first: {repeated.iloc[0]}",
                where=where,
                do="Keep one row per image.",
            )
        )
    raise_all(problems)
    return name_S


def with_names(frame: pd.DataFrame, columns: Columns, where: str) -> pd.DataFrame:
    """The rows with the name of an image that no row before them has. Raises UserError where there are none."""
    name_S = frame[pick_image_column(frame, columns.image, where)].str.strip().fillna("")
    left = frame[(name_S != "") & ~name_S.duplicated()].reset_index(drop=True)
    if left.empty:
        raise UserError("no row names an image", where=where, do="Fill the column in.")
    return left


def as_there(columns: Columns, frame: pd.DataFrame) -> Columns:
    """The same columns; those of a set to predict without the ones that the frame lacks, in any capitals."""
    if not columns.is_for_prediction:
        return columns
    there = {str(name).strip().casefold() for name in frame.columns}
    metadata = columns.metadata and tuple(name for name in columns.metadata if name.casefold() in there)
    image = columns.image if columns.image is not None and columns.image.casefold() in there else None
    return replace(columns, image=image, metadata=metadata)


def _those_there(columns: Columns, frame: pd.DataFrame) -> Columns:
    """The same columns without those that the frame lacks."""
    metadata = columns.metadata and tuple(column for column in columns.metadata if column in frame.columns)
    fold = columns.fold if columns.fold in frame.columns else None
    return replace(columns.optional(), metadata=metadata, fold=fold)


def refuse_groups(columns: Columns, what: str, where: object) -> None:
    """Raises UserError if group_column or a split needs groups and this format has none."""
    if columns.is_group_needed:
        raise UserError(
            f"{what} do not say which images are of the same patient, and group_column or split needs it",
            where=where,
            do="Give a train.csv with a group column, or leave both unset: rows are then split into folds by class.",
        )


def one_target(columns: Columns, where: object) -> UserError:
    """The refusal of several target columns by a format that has one."""
    return UserError(
        f"there is one target here, and target_column names {len(columns.targets)}",
        where=where,
        do="Set target_column to one name.",
        kind="hyperparameters",
    )


def pick_image_column(frame: pd.DataFrame, wanted: str | None, where: str) -> str:
    """The column with the pictures' names: the one `wanted`, or the first of IMAGE_COLUMNS that is there."""
    candidates = [wanted] if wanted else list(IMAGE_COLUMNS)
    for column in candidates:
        if column in frame.columns:
            return column
    names = " or ".join(f"'{column}'" for column in candidates)
    raise UserError(
        f"column {names} not found",
        where=where,
        do=f"The table has {_headers(frame)}. Set image_column to one of them.",
    )


def _headers(frame: pd.DataFrame) -> str:
    return listed([shortened(str(name), 80) for name in frame.columns], most=20)


def _meant(column: str, frame: pd.DataFrame) -> str:
    near = nearest(column, map(str, frame.columns))
    return f"; did you mean '{near}'?" if near else ""


def _check_lengths(values: pd.Series, column: str, where: str) -> None:
    """Raises UserError for a cell so long that the column, which takes its length for every row, would not fit."""
    lengths = values.str.len().fillna(0).to_numpy(dtype=np.int64)
    row = int(lengths.argmax())
    if lengths[row] > MAX_CELL or int(lengths[row]) * len(lengths) > MAX_COLUMN:
        raise UserError(
            f"column '{column}' has a cell of {lengths[row]:,} characters in its row {row + 1}",
            where=where,
            do="Shorten it, or leave the column out.",
        )


def _filled(frame: pd.DataFrame, column: str, where: str, *, is_lenient: bool = False) -> NDArray[np.str_]:
    """The cells of a column that must be filled in: raises UserError for empty ones, or gives "" if `is_lenient`."""
    _check_lengths(frame[column], column, where)
    values = frame[column].str.strip()
    if is_lenient:
        return values.fillna("").to_numpy(dtype=np.str_)
    empty = np.flatnonzero(values.isna() | (values == ""))
    if len(empty):
        lines = listed([str(row + 2) for row in empty])
        raise UserError(
            f"column '{column}' is empty in {len(empty)} of {len(frame)} rows",
            where=f"{where}, line{'s' * (len(empty) > 1)} {lines}",
            do="Fill it in.",
        )
    return values.to_numpy(dtype=np.str_)
