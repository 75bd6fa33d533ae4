"""Rows: a frame of text columns → a table, with the columns that are wanted or a clear word. All sources end here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion.data.metadata import MISSING
from lesion.data.remark import Remark
from lesion.data.sources.column_names import IMAGE_COLUMNS, plain
from lesion.data.sources.csv_table import LINE, check_size, remarks_of
from lesion.data.sources.decimal_commas import whole_with_points, with_points
from lesion.data.sources.known_columns import found_columns
from lesion.data.table import Columns, SampleTable
from lesion.errors import UserError, collecting, raise_all
from lesion.words import listed, nearest, shortened

MAX_CELL = 4096  # characters, as a path may have
MAX_COLUMN = 1 << 29  # characters: as an array of text a column takes its longest cell in every row, 4 bytes each


def frame_of(rows: Sequence[Mapping[str, str]], where: object) -> pd.DataFrame:
    """Rows of text by column name as a frame, missing cells as NA. Raises UserError for more cells than fit."""
    names = dict.fromkeys(name for row in rows for name in row)
    check_size(len(names) * len(rows), where)
    return pd.DataFrame(rows, columns=list(names), dtype="string")


def table_of(frame: pd.DataFrame, columns: Columns, where: str) -> SampleTable:
    """The table that `columns` picks of a frame of text, one row a picture.

    Raises one UserError for every column which is missing, and for empty cells, cells too long and repeated pictures.
    A lenient table is without the columns that are missing, and its empty cells are "". A row without its group or
    its fold is a group of its own there, in any fold: `is_placed_S` says which.
    """
    frame, columns = found_columns(frame, as_there(columns, frame), where)
    remarks = list(remarks_of(frame))
    codes = [name for name in (*columns.targets, columns.group, columns.fold) if name in frame.columns]
    frame = frame.assign(**{str(name): whole_with_points(frame[name]) for name in codes})
    if columns.is_lenient:
        columns = _those_there(columns, frame)
    problems: list[UserError] = []
    with collecting(problems):
        name_S = names_of(frame, columns, where)
    has_targets = columns.are_targets_needed or all(column in frame.columns for column in columns.targets)
    if has_targets and columns.targets and not columns.are_targets_needed and _are_empty(frame, columns.targets):
        has_targets = False
        empty = listed([f"'{name}'" for name in columns.targets])
        remarks.append(
            Remark("empty_targets", f"target {empty} is empty in all rows: a set without targets", where=where)
        )
    has_group = columns.is_group_needed or columns.group in frame.columns
    metadata = columns.metadata
    if metadata is None:
        metadata = tuple(column for column in columns.usual_metadata if column in frame.columns)
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
    metadata_cells = {}
    for column in metadata:
        values, remark = with_points(frame[column], column, where)
        is_missing_S = values.str.strip().str.lower().isin(MISSING)  # in metadata a word for a gap is one
        metadata_cells[column] = values.mask(is_missing_S).array
        remarks += [remark] if remark else []
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
        metadata=pd.DataFrame(metadata_cells, columns=list(metadata), index=range(len(frame))),
        targets=pd.DataFrame({column: filled[column] for column in columns.targets})
        if columns.targets and has_targets
        else None,
        class_name_S=frame[columns.class_name].fillna("").to_numpy(dtype=np.str_) if has_names else None,
        group_S=filled[columns.group] if columns.group and has_group else None,
        fold_S=filled[columns.fold] if columns.fold else None,
        is_placed_S=is_placed_S,
        others=frame[[column for column in frame.columns if column not in used]].reset_index(drop=True),
        remarks=tuple(remarks),
        image_column=image_column,
        columns=columns,
        where=where,
    )


def _are_empty(frame: pd.DataFrame, names: Sequence[str]) -> bool:
    return bool((frame[list(names)].fillna("").apply(lambda values: values.str.strip()) == "").all(axis=None))


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
    left = frame[(name_S != "") & ~name_S.duplicated()]
    if left.empty:
        raise UserError("no row names an image", where=where, do="Fill the column in.")
    return left


def as_there(columns: Columns, frame: pd.DataFrame) -> Columns:
    """The same columns; those of a set to predict without the ones that the frame lacks, however they are written."""
    if not columns.is_for_prediction:
        return columns
    there = {plain(name) for name in frame.columns}
    metadata = columns.metadata and tuple(name for name in columns.metadata if plain(name) in there)
    if columns.image is not None and plain(columns.image) in there:
        return replace(columns, metadata=metadata)
    return replace(columns, image=None, metadata=metadata, unset=columns.unset | {"image_column"})


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
    near = next((meant for column in candidates if (meant := _meant(column, frame))), "")
    raise UserError(
        f"column {names} not found{near}",
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
        lines = listed([str(line) for line in (frame.index[empty] if frame.index.name == LINE else empty + 2)])
        raise UserError(
            f"column '{column}' is empty in {len(empty)} of {len(frame)} rows",
            where=f"{where}, line{'s' * (len(empty) > 1)} {lines}",
            do="Fill it in.",
        )
    return values.to_numpy(dtype=np.str_)
