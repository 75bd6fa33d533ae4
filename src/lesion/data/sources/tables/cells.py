"""Cells: what stands in a column that must be filled in, and the refusal of what is empty or too long, by line."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesion.data.labels.uncertain import NOT_MENTIONED
from lesion.data.sources.tables.csv_table import LINE
from lesion.data.table import Columns
from lesion.errors import UserError
from lesion.words import listed

MARKS = {"x", "✓", "✔", "✗", "*", "+", "•", "v"}  # of a cell that is ticked
MAX_CELL = 4096  # characters, as a path may have
MAX_COLUMN = 1 << 29  # characters: as an array of text a column takes its longest cell in every row, 4 bytes each


def with_blank_labels(frame: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """The frame with NOT_MENTIONED in blank target cells, if on_uncertain says what they are."""
    if columns.on_uncertain == "error":
        return frame
    there = [column for column in columns.targets if column in frame.columns]
    filled = {column: frame[column].mask(frame[column].fillna("").str.strip() == "", NOT_MENTIONED) for column in there}
    return frame.assign(**filled)


def ways_out(frame: pd.DataFrame, column: str, columns: Columns) -> str:
    """What to do about blank labels in a column."""
    if not (frame[column].fillna("").str.strip() != "").any():
        return "Fill it in, or set target_column to the column that holds the classes."
    blanks = ", or positive or negative to take them as not mentioned" if len(columns.targets) > 1 else ""
    return f"Fill it in, or set on_uncertain=drop to leave rows without labels out{blanks}."


def about_marks(values: pd.Series) -> str:
    """What to do about a column of labels that holds a mark such as x for yes, and nothing for no; "" for others."""
    words = set(values.dropna().str.strip()) - {""}
    if len(words) != 1 or {word.casefold() for word in words} - MARKS:
        return ""
    (mark,) = words
    num = int((values.fillna("").str.strip() == mark).sum())
    return (
        f"Write 1 for '{mark}', which {num} rows hold, and 0 for nothing: with several target columns each is 0 or 1."
    )


def check_lengths(values: pd.Series, column: str, where: str) -> None:
    """Raises UserError for a cell so long that the column, which takes its length for every row, would not fit."""
    lengths = values.str.len().fillna(0).to_numpy(dtype=np.int64)
    row = int(lengths.argmax())
    if lengths[row] > MAX_CELL or int(lengths[row]) * len(lengths) > MAX_COLUMN:
        raise UserError(
            f"column '{column}' has a cell of {lengths[row]:,} characters in its row {row + 1}",
            where=where,
            do="Shorten it, or leave the column out.",
        )


def filled_cells(
    frame: pd.DataFrame, column: str, where: str, *, is_lenient: bool = False, do: str = "Fill it in."
) -> NDArray[np.str_]:
    """The cells of a column that must be filled in: raises UserError for empty ones, or gives "" if `is_lenient`."""
    check_lengths(frame[column], column, where)
    values = frame[column].str.strip()
    if is_lenient:
        return values.fillna("").to_numpy(dtype=np.str_)
    empty = np.flatnonzero(values.isna() | (values == ""))
    if len(empty):
        lines = listed([str(line) for line in lines_of(frame)[empty].tolist()])
        raise UserError(
            f"column '{column}' is empty in {len(empty)} of {len(frame)} rows",
            where=f"{where}, line{'s' * (len(empty) > 1)} {lines}",
            do=do,
        )
    return values.to_numpy(dtype=np.str_)


def lines_of(frame: pd.DataFrame) -> NDArray[np.int64]:
    """The line [S] on which each row begins, if it comes from a file; else the row's number after a header."""
    is_known = frame.index.name == LINE
    return np.asarray(frame.index if is_known else np.arange(len(frame)) + 2, dtype=np.int64)
