"""Rows: a frame of text columns → a table, with the columns that are wanted or a clear word. All sources end here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion.data.table import USUAL_METADATA, Columns, SampleTable
from lesion.errors import UserError

IMAGE_COLUMNS = ("image_name", "image_id")


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


def table_of(frame: pd.DataFrame, columns: Columns, where: str) -> SampleTable:
    """The table that `columns` picks of a frame of text, one row a picture.

    Raises one UserError that names every column which is missing, and another for empty cells and repeated pictures.
    """
    name_S = names_of(frame, columns, where)
    has_targets = columns.are_targets_needed or all(column in frame.columns for column in columns.targets)
    has_group = columns.is_group_needed or columns.group in frame.columns
    metadata = columns.metadata
    if metadata is None:
        metadata = tuple(column for column in USUAL_METADATA if column in frame.columns)
    wanted = [("target_column", column) for column in columns.targets] if has_targets else []
    wanted += [("group_column", columns.group)] if has_group and columns.group else []
    wanted += [("split", columns.fold)] if columns.fold else []
    wanted += [("metadata_columns", column) for column in metadata]
    missing = [f"'{column}' ({setting})" for setting, column in wanted if column not in frame.columns]
    if missing:
        raise UserError(
            f"columns not found: {', '.join(missing)}",
            where=f"{where}: {list(frame.columns)}",
            do="Rename them, or set the hyperparameter in brackets.",
        )
    has_names = columns.class_name in frame.columns
    image_column = pick_image_column(frame, columns.image, where)
    used = {image_column, columns.class_name, columns.group, columns.fold, *metadata, *columns.targets}
    return SampleTable(
        name_S=name_S,
        metadata=frame[list(metadata)].reset_index(drop=True),
        targets=pd.DataFrame({column: _filled(frame, column, where) for column in columns.targets})
        if columns.targets and has_targets
        else None,
        class_name_S=frame[columns.class_name].fillna("").to_numpy(dtype=np.str_) if has_names else None,
        group_S=_filled(frame, columns.group, where) if columns.group and has_group else None,
        fold_S=_filled(frame, columns.fold, where) if columns.fold else None,
        others=frame[[column for column in frame.columns if column not in used]].reset_index(drop=True),
        image_column=image_column,
        where=where,
    )


def names_of(frame: pd.DataFrame, columns: Columns, where: str) -> NDArray[np.str_]:
    """The pictures' names. Raises UserError where one is empty or stands in two rows."""
    name_S = _filled(frame, pick_image_column(frame, columns.image, where), where)
    repeated = name_S[pd.Series(name_S).duplicated().to_numpy()]
    if len(repeated):
        raise UserError(
            f"{len(repeated)} pictures stand in more than one row, the first: {repeated[0]}",
            where=where,
            do="Keep one row a picture.",
        )
    return name_S


def refuse_groups(columns: Columns, what: str, where: object) -> None:
    """Raises UserError if groups are wanted of a format that knows none."""
    if columns.is_group_needed:
        raise UserError(
            f"{what} do not say which pictures are of one patient, and the split keeps patients together",
            where=where,
            do="Give a train.csv with a group column, or set split=stratified_kfold if no two are of one patient.",
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
    raise UserError(f"column {names} not found", where=f"{where}: {list(frame.columns)}", do="Set image_column.")


def _filled(frame: pd.DataFrame, column: str, where: str) -> NDArray[np.str_]:
    values = frame[column].str.strip()
    empty = np.flatnonzero(values.isna() | (values == ""))
    if len(empty):
        lines = ", ".join(str(row + 2) for row in empty[:5])
        raise UserError(
            f"column '{column}' is empty in {len(empty)} of {len(frame)} rows",
            where=f"{where}, lines {lines}",
            do="Fill it in.",
        )
    return values.to_numpy(dtype=np.str_)
