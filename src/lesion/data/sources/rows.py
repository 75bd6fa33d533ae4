"""Rows: a frame of text columns → a table, with the columns that are wanted or a clear word. All sources end here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion.data.groups import own_groups
from lesion.data.metadata import ALIASES, MISSING
from lesion.data.remark import Remark
from lesion.data.sources.groups import Groups, read_folds, read_groups
from lesion.data.sources.tables.cells import (
    about_marks,
    check_lengths,
    filled_cells,
    lines_of,
    ways_out,
    with_blank_labels,
)
from lesion.data.sources.tables.column_names import IMAGE_COLUMNS
from lesion.data.sources.tables.csv_table import check_size, remarks_of
from lesion.data.sources.tables.decimal_commas import whole_with_points, with_points
from lesion.data.sources.tables.known_columns import found_columns
from lesion.data.sources.tables.nearly_known import about_nearly_known
from lesion.data.sources.tables.plain_name import plain
from lesion.data.table import Columns, SampleTable
from lesion.errors import UserError, collecting, raise_all
from lesion.settings import SPLITS
from lesion.words import listed, nearest, shortened


def frame_of(rows: Sequence[Mapping[str, str]], where: object) -> pd.DataFrame:
    """Rows of text by column name as a frame, missing cells as NA. Raises UserError for more cells than fit."""
    names = dict.fromkeys(name for row in rows for name in row)
    check_size(len(names) * len(rows), where)
    return pd.DataFrame(rows, columns=list(names), dtype="string")


def table_of(frame: pd.DataFrame, columns: Columns, where: str) -> SampleTable:
    """The table that `columns` picks of a frame of text, one row a picture.

    Raises one UserError for every column which is missing, and for empty cells, cells too long and repeated pictures.
    A row without a known group is one of its own (`is_own_S`). A lenient table is without the columns that are missing,
    and its empty cells are "". A row whose group or fold was refused is a group of its own there, in any fold:
    `is_placed_S` says which.
    """
    frame, columns = found_columns(frame, as_there(columns, frame), where)
    remarks = list(remarks_of(frame))
    codes = [name for name in (*columns.targets, columns.group, columns.fold) if name in frame.columns]
    frame = frame.assign(**{str(name): whole_with_points(frame[name]) for name in codes})
    if columns.is_lenient:
        columns = _those_there(columns, frame)
    frame = with_blank_labels(frame, columns)
    has_targets = columns.are_targets_needed or all(column in frame.columns for column in columns.targets)
    if has_targets and not columns.are_targets_needed and (empty := _empty_targets(frame, columns.targets, where)):
        has_targets = False
        remarks.append(empty)
    usual = tuple(column for column in columns.usual_metadata if column in frame.columns)
    metadata = usual if columns.metadata is None else columns.metadata
    cells = _cells(frame, columns, metadata, has_targets=has_targets, where=where)
    metadata_frame, of_metadata = _metadata(frame, metadata, where)
    places = _places(cells, columns, where)
    has_names = columns.class_name in frame.columns
    image_column = pick_image_column(frame, columns.image, where)
    used = {image_column, columns.class_name, columns.group, columns.fold, *metadata, *columns.targets}
    return SampleTable(
        name_S=cells.name_S,
        metadata=metadata_frame,
        targets=pd.DataFrame({column: cells.filled[column] for column in columns.targets})
        if columns.targets and has_targets
        else None,
        class_name_S=frame[columns.class_name].fillna("").to_numpy(dtype=np.str_) if has_names else None,
        group_S=places.group_S,
        is_own_S=places.is_own_S,
        fold_S=places.fold_S,
        is_placed_S=places.is_placed_S,
        others=frame[[column for column in frame.columns if column not in used]].reset_index(drop=True),
        remarks=(*remarks, *of_metadata, *cells.groups.remarks, *places.remarks),
        image_column=image_column,
        columns=columns,
        where=where,
    )


@dataclass(frozen=True)
class _Cells:
    """What the wanted columns hold: names, targets and folds by column, and groups."""

    name_S: NDArray[np.str_]
    filled: dict[str, NDArray[np.str_]]
    groups: Groups


def _cells(frame: pd.DataFrame, columns: Columns, metadata: Sequence[str], *, has_targets: bool, where: str) -> _Cells:
    """The cells of the wanted columns. Raises one UserError for all that is missing, empty, too long or repeated."""
    problems: list[UserError] = []
    with collecting(problems):
        name_S = names_of(frame, columns, where)
    to_fill = [("target_column", column) for column in columns.targets if has_targets]
    to_fill += [("split", columns.fold)] if columns.fold else []
    has_group = columns.is_group_needed or columns.group in frame.columns
    group = [("group_column", columns.group)] if has_group and columns.group else []
    with collecting(problems):
        _refuse_missing(frame, [*to_fill, *group, *(("metadata_columns", column) for column in metadata)], where)
    for column in (*metadata, *([columns.class_name] if columns.class_name else [])):
        if column in frame.columns:
            with collecting(problems):
                check_lengths(frame[column], column, where)
    filled = {}
    for _, column in to_fill:
        if column in frame.columns:
            with collecting(problems):
                do = ways_out(frame, column, columns) if column in columns.targets else "Fill it in."
                if len(columns.targets) > 1 and column in columns.targets:
                    do = about_marks(frame[column]) or do
                filled[column] = filled_cells(frame, column, where, is_lenient=columns.is_lenient, do=do)
    groups = Groups()
    with collecting(problems):
        groups = _groups(frame, columns, where)
    raise_all(problems)
    return _Cells(name_S, filled, groups)


@dataclass(frozen=True)
class _Places:
    """Where each row belongs: its group and its fold, as the table of samples has them."""

    group_S: NDArray[np.str_] | None
    is_own_S: NDArray[np.bool_] | None
    fold_S: NDArray[np.str_] | None
    is_placed_S: NDArray[np.bool_] | None
    remarks: Sequence[Remark]


def _places(cells: _Cells, columns: Columns, where: str) -> _Places:
    """The groups and folds. In a lenient table a row whose group or fold was refused is alone, in any fold."""
    group_S, is_own_S = cells.groups.group_S, cells.groups.is_own_S
    fold_S = cells.filled[columns.fold] if columns.fold else None
    is_placed_S = None
    if columns.is_lenient:
        is_refused_S = cells.groups.is_refused_S
        is_placed_S = np.ones(len(cells.name_S), dtype=bool) if is_refused_S is None else ~is_refused_S
        if fold_S is not None:
            is_placed_S &= fold_S != ""
            fold_S = np.where(is_placed_S, fold_S, max(fold_S.tolist()))
        is_own_S = ~is_placed_S if is_own_S is None else is_own_S | ~is_placed_S
    if group_S is not None and is_own_S is not None:
        group_S = own_groups(group_S, cells.name_S, is_own_S)
    remarks: Sequence[Remark] = []
    if fold_S is not None:
        fold_S, remarks = read_folds(fold_S, str(columns.fold), where)
    return _Places(group_S, is_own_S, fold_S, is_placed_S, remarks)


def _refuse_missing(frame: pd.DataFrame, wanted: Sequence[tuple[str, str]], where: str) -> None:
    """Raises UserError for the wanted columns that the frame lacks, each with the hyperparameter that names it."""
    missing = [(setting, column) for setting, column in wanted if column not in frame.columns]
    if missing:
        has_image = any(name in frame.columns for name in IMAGE_COLUMNS)  # else it is said where that is not found
        hint = about_nearly_known([*map(str, frame.columns)]) if has_image else ""
        also = {"split": SPLITS}  # another value that may be meant
        named = [
            f"'{column}' ({setting}{_meant(column, [*map(str, frame.columns), *also.get(setting, ())])})"
            for setting, column in missing
        ]
        without = ""
        if any(setting == "group_column" for setting, _ in missing):
            without = " Without group_column, and without a split by groups, rows are split by class."
        raise UserError(
            f"columns not found: {', '.join(named)}",
            where=where,
            do=f"The table has {_headers(frame)}. Rename them, or set the hyperparameter in brackets.{without}{hint}",
        )


def _empty_targets(frame: pd.DataFrame, names: Sequence[str], where: str) -> Remark | None:
    """What is said of targets that are empty in all rows; None if a cell is filled."""
    filled = frame[list(names)].fillna("").apply(lambda values: values.str.strip()) != ""
    if not names or bool(filled.any(axis=None)):
        return None
    empty = listed([f"'{name}'" for name in names])
    return Remark("empty_targets", f"target {empty} is empty in all rows: a set without targets", where=where)


def _metadata(frame: pd.DataFrame, names: Sequence[str], where: str) -> tuple[pd.DataFrame, list[Remark]]:
    """The metadata columns, in which a word for a gap is a gap, with decimal points."""
    cells, remarks = {}, []
    for column in names:
        values, remark = with_points(frame[column], column, where)
        cells[column] = values.mask(values.str.strip().str.lower().isin(MISSING)).array
        remarks += [remark] if remark else []
    return pd.DataFrame(cells, columns=list(names), index=range(len(frame))), remarks


def _groups(frame: pd.DataFrame, columns: Columns, where: str) -> Groups:
    """The groups of the rows; none where there is no such column."""
    if columns.group not in frame.columns:
        return Groups()
    check_lengths(frame[columns.group], str(columns.group), where)
    text_S = frame[columns.group].str.strip().fillna("").to_numpy(dtype=np.str_)
    return read_groups(text_S, columns, where, lines_of(frame))


def names_of(frame: pd.DataFrame, columns: Columns, where: str) -> NDArray[np.str_]:
    """The pictures' names. Raises UserError if one is empty or in two rows."""
    problems: list[UserError] = []
    column = pick_image_column(frame, columns.image, where)
    with collecting(problems):
        name_S = filled_cells(frame, column, where)
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
    there_by_alias = {column for alias, column in ALIASES.items() if alias in there}
    metadata = columns.metadata and tuple(
        name for name in columns.metadata if plain(name) in there or name in there_by_alias
    )
    if columns.image is not None and plain(columns.image) in there:
        return replace(columns, metadata=metadata)
    return replace(columns, image=None, metadata=metadata, unset=columns.unset | {"image_column"})


def _those_there(columns: Columns, frame: pd.DataFrame) -> Columns:
    """The same columns without those that the frame lacks."""
    metadata = columns.metadata and tuple(column for column in columns.metadata if column in frame.columns)
    fold = columns.fold if columns.fold in frame.columns else None
    return replace(columns.optional(), metadata=metadata, fold=fold, on_missing_group=columns.on_missing_group)


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
    near = next((meant for column in candidates if (meant := _meant(column, list(map(str, frame.columns))))), "")
    raise UserError(
        f"column {names} not found{near}",
        where=where,
        do=f"The table has {_headers(frame)}. Set image_column to one of them."
        + about_nearly_known([*map(str, frame.columns)]),
    )


def _headers(frame: pd.DataFrame) -> str:
    return listed([shortened(str(name), 80) for name in frame.columns], most=20)


def _meant(column: str, known: Sequence[str]) -> str:
    near = nearest(column, known)
    return f"; did you mean '{near}'?" if near else ""
