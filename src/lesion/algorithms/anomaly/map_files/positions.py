"""Positions: which slide each row of a set was cut from, and where on it, from the columns of its table."""

# S rows

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lesion.data.table import SampleTable
from lesion.errors import UserError, collecting, raise_all
from lesion.words import listed, number_of

SLIDE = "slide_id"  # as `lesion prepare tiles` calls it
X, Y, DOWNSAMPLE = "x", "y", "downsample"


@dataclass(frozen=True)
class Position:
    """The slide of an image; with its upper left corner in pixels of the slide, and how many of these one pixel of the
    image spans a side. Without a corner the image stands for itself."""

    slide: str
    corner: tuple[float, float] | None = None
    downsample: float = 1.0


def positions_of(table: SampleTable, group_column: str) -> list[Position]:
    """The position of each row [S]. The slide is column `slide_id`, or else `group_column`, or else the image's own
    name. Raises one UserError for all cells of x, y and downsample that are no numbers."""
    others = pd.DataFrame(index=range(len(table))) if table.others is None else table.others.reset_index(drop=True)
    column_of = {str(name).lower(): str(name) for name in others.columns}
    slide_column = next((column_of[name] for name in (SLIDE, group_column.lower()) if name in column_of), None)
    names = table.name_S.tolist()
    if slide_column is not None:
        texts = others[slide_column].fillna("").astype(str).str.strip()
        names = [text or name for text, name in zip(texts, names, strict=True)]
    if not {X, Y} <= set(column_of) or slide_column is None:
        return [Position(name) for name in names]
    problems: list[UserError] = []
    number_S = {}
    for name, is_right in ((X, np.isfinite), (Y, np.isfinite), (DOWNSAMPLE, lambda value_S: value_S > 0)):
        if name in column_of:
            with collecting(problems):
                number_S[name] = _numbers(others[column_of[name]], is_right, table.where)
    raise_all(problems)
    downsample_S = number_S.get(DOWNSAMPLE, np.ones(len(names)))
    each = zip(names, number_S[X].tolist(), number_S[Y].tolist(), downsample_S.tolist(), strict=True)
    return [Position(slide, (x, y), downsample) for slide, x, y, downsample in each]


def _numbers(cells: pd.Series[str], is_right: Callable[[np.ndarray], np.ndarray], where: str) -> np.ndarray:
    """The numbers of a column [S]."""
    number_S = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    is_wrong_S = ~(np.isfinite(number_S) & is_right(number_S))
    if is_wrong_S.any():
        texts = listed(list(dict.fromkeys(cells.fillna("").astype(str)[is_wrong_S].tolist())))
        rows = number_of(int(is_wrong_S.sum()), "row")
        what = f"column '{cells.name}' is no number that a position can have in {rows}: {texts}"
        raise UserError(what, where=where, do="Correct the cells, or take the column out.")
    return np.asarray(number_S)
