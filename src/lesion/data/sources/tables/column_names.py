"""Column names: which column of a table a wanted name means, whatever its capitals and blanks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import pandas as pd

from lesion.data.metadata import ALIASES
from lesion.data.remark import Remark
from lesion.data.sources.tables.csv_table import with_remarks
from lesion.data.sources.tables.plain_name import plain
from lesion.data.table import Columns
from lesion.errors import UserError, raise_all
from lesion.words import listed, shortened

IMAGE_COLUMNS = ("image_name", "image_id")


def with_wanted_names(frame: pd.DataFrame, columns: Columns, where: str) -> pd.DataFrame:
    """The frame with its columns called as `columns` calls them, where exactly one fits; a remark says which.

    Raises UserError for a wanted name that several columns may mean. A column that is not there is left to the caller.
    """
    names_of = defaultdict(list)
    for name in map(str, frame.columns):
        names_of[plain(name)].append(name)
    renamed: dict[str, str] = {}
    problems: list[UserError] = []
    for setting, wanted in _wanted(columns):
        names = names_of[plain(wanted)]
        if not names and setting == "metadata_columns" and columns.is_for_prediction:  # as the server takes them
            names = [name for alias, column in ALIASES.items() if column == wanted for name in names_of[alias]]
        if not names or names == [wanted] or (wanted in names and setting not in columns.unset):
            continue
        if len(names) > 1:
            if not columns.is_lenient:  # then it was said, and one of the name itself is taken
                problems.append(_several(names, wanted, setting, where))
        elif wanted not in renamed.values():
            renamed[names[0]] = wanted
    raise_all(problems)
    if not renamed:
        return frame
    pairs = listed([f"'{shortened(name, 80)}' as {wanted}" for name, wanted in renamed.items()], most=20)
    what = f"columns are taken although they are written otherwise: {pairs}"
    return with_remarks(frame.rename(columns=renamed), [Remark("column_names", what, where=where)])


def _wanted(columns: Columns) -> Iterator[tuple[str, str]]:
    """Each hyperparameter of columns with each name that it stands for."""
    for name in (columns.image,) if columns.image else IMAGE_COLUMNS:
        yield "image_column", name
    for name in columns.targets:
        yield "target_column", name
    for name in columns.usual_metadata if columns.metadata is None else columns.metadata:
        yield "metadata_columns", name
    for setting, one in (("group_column", columns.group), ("class_name_column", columns.class_name)):
        if one:
            yield setting, one
    if columns.fold:
        yield "split", columns.fold


def _several(names: list[str], wanted: str, setting: str, where: str) -> UserError:
    quoted = " and ".join(f"'{shortened(name, 80)}'" for name in names)
    return UserError(
        f"columns {quoted} differ only in how they are written, and each may be {wanted}",
        where=where,
        do=f"Remove or rename the others, or set {setting} to one of these names.",
    )
