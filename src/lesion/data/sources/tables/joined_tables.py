"""Joined tables: two CSVs of one data set, one with the targets and one with groups and metadata, become one table.

ISIC 2018 and 2019 come so. They are joined by a column that both have, if every id is in one row of each; a table
that would lose or repeat a row is refused in words, or where only one of the two can be meant, left alone.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from lesion.data.decode.image_files import stem
from lesion.data.remark import Remark
from lesion.data.sources.json_lines import read_header, read_table
from lesion.data.sources.location import SplitLocation
from lesion.data.sources.tables.csv_table import remarks_of, with_remarks
from lesion.data.sources.tables.header_form import IMAGE_NAME
from lesion.data.sources.tables.known_tables import KNOWN_TABLES, USUAL_NAMES, find_known
from lesion.data.sources.tables.plain_name import plain
from lesion.data.sources.tables.table_files import find_table, table_files, tables_beside
from lesion.data.table import Columns
from lesion.errors import UserError
from lesion.words import listed, number_of

NOTHING_IN_COMMON = "they have no column in common"
IMAGES_OF_KNOWN_TABLES = frozenset(plain(known.image) for known in KNOWN_TABLES)


def find_tables(location: SplitLocation, columns: Columns) -> tuple[Path, Path | None]:
    """The table of a set with its targets, and the one that can be joined to it, if there is just one.

    Raises UserError for none, and for several of which it is unclear which is meant or how they belong together.
    """
    chosen = columns.table_file if location.split == "train" else None
    found = [] if chosen is not None else table_files(location)
    with_targets = [path for path in found if _has_targets(read_header(path), columns)]
    if len(found) > 1 and len(with_targets) == 1:
        (csv_path,) = with_targets
        pairs = {other: _pair(csv_path, other) for other in found if other != csv_path}
        if len(joined := [pair for pair in pairs.values() if not isinstance(pair, str)]) == 1:
            return joined[0]
        if len(found) == 2:
            ((other, why),) = pairs.items()
            name, called = csv_path.relative_to(location.folder).as_posix(), other.relative_to(location.folder)
            raise UserError(
                f"{name} holds the targets, and {called.as_posix()} cannot be joined to it: {why}",
                where=location.folder,
                do="Give both one row for each id"
                + (f", or set table_file={name} to use it alone." if location.split == "train" else ", or leave one."),
            )
    csv_path = find_table(location, columns.table_file)
    others = [path for path in tables_beside(csv_path, location) if not _has_targets(read_header(path), columns)]
    if not _has_targets(read_header(csv_path), columns):
        return csv_path, None
    joined = [pair for other in others if not isinstance(pair := _pair(csv_path, other), str)]
    return joined[0] if len(joined) == 1 else (csv_path, None)


def _pair(csv_path: Path, other: Path) -> tuple[Path, Path] | str:
    """The two tables, first the one whose rows are images; or why they cannot be joined. Raises nothing: a table that
    cannot be read is none."""
    headers = {path: read_header(path) for path in (csv_path, other)}
    if not {plain(name) for name in headers[csv_path]} & {plain(name) for name in headers[other]}:
        return NOTHING_IN_COMMON  # without reading them
    # Several images may have one row of labels, which names none of them (MILK10k: two of each lesion).
    names_images = {path: _names_images(header) for path, header in headers.items()}
    first, second = (other, csv_path) if names_images[other] and not names_images[csv_path] else (csv_path, other)
    try:
        joined = join(read_table(first), read_table(second), second, may_repeat=first == other)
    except UserError as error:
        return error.what
    return joined if isinstance(joined, str) else (first, second)


def join(frame: pd.DataFrame, other: pd.DataFrame, other_path: Path, *, may_repeat: bool = True) -> pd.DataFrame | str:
    """The frame with the columns that only the other has, and a remark that says so; or in words why not.

    The other has one row for each id, and so has the frame, unless its ids `may_repeat`.
    """
    names = {plain(name): str(name) for name in other.columns}
    common = [str(name) for name in frame.columns if plain(name) in names]
    if not common:
        return NOTHING_IN_COMMON
    added = [name for key, name in names.items() if key not in {plain(column) for column in frame.columns}]
    if not added:
        return "it has no further column"
    reasons = []
    for column in common:
        ids, other_ids = _same_ids(_ids(frame[column]), _ids(other[names[plain(column)]]))
        if reason := _apart(ids, other_ids, column, may_repeat=may_repeat):
            reasons.append(reason)
            continue
        place_of = pd.Series(range(len(other)), index=other_ids.to_numpy())
        rows = other.iloc[place_of.loc[ids.to_numpy()].to_numpy()]
        for shared in common:
            is_other = _ids(frame[shared]).to_numpy() != _ids(rows[names[plain(shared)]]).to_numpy()
            if shared != column and is_other.any():
                return f"column '{shared}' differs between them in {number_of(int(is_other.sum()), 'row')}"
        rows_each = "in one row of each" if ids.is_unique else f"in one row of it, and in {len(ids)} rows of images"
        what = f"{other_path.name} is joined by the column '{column}', whose {len(other_ids)} ids are {rows_each}: "
        what += f"it adds {listed(added, most=20)}"
        remark = Remark("joined_tables", what, "Move the file away if it is of other images.", str(other_path))
        joined = frame.assign(**{name: rows[name].array for name in added})
        joined.attrs = dict(frame.attrs)
        return with_remarks(joined, [*remarks_of(other), remark])
    return reasons[0]


def _same_ids(ids: pd.Series, other_ids: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Both without the endings of image files where only these keep them from being the same ids."""
    bare, other_bare = ids.map(_without_ending), other_ids.map(_without_ending)
    is_helped = set(bare) == set(other_bare) and set(ids) != set(other_ids)
    is_lossless = bare.nunique() == ids.nunique() and other_bare.nunique() == other_ids.nunique()
    return (bare, other_bare) if is_helped and is_lossless else (ids, other_ids)


def _without_ending(name: str) -> str:
    return stem(name) if IMAGE_NAME.fullmatch(name) else name


def _apart(ids: pd.Series, other_ids: pd.Series, column: str, *, may_repeat: bool) -> str:
    """Why two columns of ids are not the same ids, once each; "" if they are."""
    both = [("the first", ids)] * (not may_repeat) + [("the second", other_ids)]
    for which, values in both:
        twice = values[values.duplicated()]
        if len(twice):
            what = "is empty" if twice.iloc[0] == "" else f"holds {twice.iloc[0]}"
            return f"column '{column}' {what} in several rows of {which}"
    missing = [sorted(set(ids) - set(other_ids)), sorted(set(other_ids) - set(ids))]
    parts = [
        f"{number_of(len(names), 'id')} of the {which} {'is' if len(names) == 1 else 'are'} not in the {without}, "
        f"such as {names[0]}"
        for names, which, without in zip(missing, ("first", "second"), ("second", "first"), strict=True)
        if names
    ]
    return f"by column '{column}' {' and '.join(parts)}" if parts else ""


def _names_images(names: Collection[str]) -> bool:
    """Whether a table has a column that usually names images."""
    there = {plain(name) for name in names}
    return bool(there & {*USUAL_NAMES["image_column"], *IMAGES_OF_KNOWN_TABLES})


def _has_targets(names: Collection[str], columns: Columns) -> bool:
    """Whether a table has the target columns: those of the settings, or of the known data set whose table it is."""
    there = {plain(name) for name in names}
    if columns.targets and all(plain(name) in there for name in columns.targets):
        return True
    known = find_known(names) if "target_column" in columns.unset else None
    return known is not None and any(plain(name) in there for name in known.targets)


def _ids(values: pd.Series) -> pd.Series:
    return values.fillna("").str.strip()
