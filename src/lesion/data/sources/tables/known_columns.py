"""Known columns: the wanted columns of a table, where the user left settings unset and its columns are known ones."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pandas as pd

from lesion.data.remark import Remark
from lesion.data.sources.tables.column_names import IMAGE_COLUMNS, with_wanted_names
from lesion.data.sources.tables.csv_table import with_remarks
from lesion.data.sources.tables.header_form import refuse_header
from lesion.data.sources.tables.known_tables import KNOWN_TABLES, PATIENTS, UNKNOWN, find_known
from lesion.data.sources.tables.plain_name import plain
from lesion.data.table import Columns


def found_columns(frame: pd.DataFrame, columns: Columns, where: str) -> tuple[pd.DataFrame, Columns]:
    """The wanted columns of this very table, and the frame with its columns called so. Remarks say what was decided.

    A second call changes nothing. Raises UserError for a wanted name that several columns may mean, and where columns
    are not found because the table has no header, or a separator that is not known.
    """
    as_known = _as_known(list(map(str, frame.columns)), columns)
    if not _are_there(frame, as_known):
        refuse_header(frame, where)
    if as_known.known != columns.known:
        frame = with_remarks(frame, [_remark(frame, columns, as_known, where)])
    frame = _with_patients(frame, as_known, where)
    return with_wanted_names(frame, as_known, where), replace(as_known, unset=frozenset())


def _as_known(names: Collection[str], columns: Columns) -> Columns:
    """The columns with those that are unset, and that the table lacks by their usual names, as its data set has them.

    A table with the usual names of image and target is taken as it is.
    """
    there = {plain(name) for name in names}
    has_image = columns.image is not None or any(name in there for name in IMAGE_COLUMNS)
    has_targets = all(plain(name) in there for name in columns.targets)
    are_targets_set = "target_column" not in columns.unset
    if not columns.unset:
        return columns
    if has_image and has_targets and not are_targets_set:
        return _with_group(columns, there)
    known = find_known(names)
    if known is None or (known.name == UNKNOWN and has_image and (has_targets or are_targets_set)):
        return _with_group(columns, there)
    changes: dict[str, Any] = {}
    if "image_column" in columns.unset and not has_image:
        changes["image"] = known.image
    if columns.targets and not has_targets and not are_targets_set:
        changes["targets"] = tuple(name for name in known.targets if plain(name) in there) or known.targets
    is_group_lacking = columns.group and "group_column" in columns.unset and plain(columns.group) not in there
    if is_group_lacking and known.group is not None and plain(known.group) in there:  # else it is in a joined table
        changes["group"] = known.group
    if known.metadata and "metadata_columns" in columns.unset:
        changes["usual_metadata"] = known.metadata
    changed = replace(columns, **changes)
    return _with_group(columns if changed == columns else replace(changed, known=known.name), there)


def image_column_of(names: Collection[str], columns: Columns) -> str | None:
    """The column of images that a table with these columns has, as it writes it; None where none is found."""
    written = {plain(name): name for name in names}
    image = _as_known(names, columns).image
    return next(
        (written[plain(name)] for name in ([image] if image else IMAGE_COLUMNS) if plain(name) in written), None
    )


def _are_there(frame: pd.DataFrame, columns: Columns) -> bool:
    """Whether the table has a column of images, and those of the targets where they are needed."""
    there = {plain(name) for name in frame.columns}
    has_image = any(plain(name) in there for name in ([columns.image] if columns.image else IMAGE_COLUMNS))
    return has_image and (not columns.are_targets_needed or all(plain(name) in there for name in columns.targets))


def _with_patients(frame: pd.DataFrame, columns: Columns, where: str) -> pd.DataFrame:
    """The frame with a group column of the patients that the images' paths name, where a known table has them there."""
    known = next((one for one in KNOWN_TABLES if one.name == columns.known), None)
    image = next((name for name in frame.columns if columns.image and plain(name) == plain(columns.image)), None)
    group = columns.group
    if known is None or not known.patient_in_image or image is None or group is None or group in frame.columns:
        return frame
    patients = frame[image].str.extract(f"({known.patient_in_image})", expand=False)
    if patients.isna().any():
        return frame  # these are other paths: what is said of a table without groups is right
    what = f"patients are taken from '{image}', as {known.name} has them there: {patients.iloc[0]} is the first"
    remark = Remark("patients_in_paths", what, "Set group_column to a column if you mean others.", where)
    return with_remarks(frame.assign(**{group: patients}), [remark])


def _with_group(columns: Columns, there: Collection[str]) -> Columns:
    """The columns with a group column of another usual name, if it is unset: PatientID, subject. None of the lesions:
    a table may have them beside patients of a name that is not usual."""
    if columns.group is None or "group_column" not in columns.unset or plain(columns.group) in there:
        return columns
    used = {plain(name) for name in (columns.image, *columns.targets) if name}
    found = next((name for name in PATIENTS if name in there and name not in used), None)
    return columns if found is None else replace(columns, group=found, known=columns.known or UNKNOWN)


def _remark(frame: pd.DataFrame, before: Columns, after: Columns, where: str) -> Remark:
    """Says which columns stand for which hyperparameters."""
    there = {plain(name) for name in frame.columns}
    metadata = [name for name in after.usual_metadata if plain(name) in there]
    found = {
        "image_column": [after.image] if after.image and after.image != before.image else [],
        "target_column": list(after.targets) if after.targets != before.targets else [],
        "group_column": [after.group] if after.group and after.group != before.group else [],
        "metadata_columns": metadata if after.usual_metadata != before.usual_metadata else [],
    }
    texts = [f"{setting}={','.join(names)}" for setting, names in found.items() if names]
    whose = "have usual names" if after.known == UNKNOWN else f"are those of {after.known}"
    return Remark(
        "known_table",
        f"the table's columns {whose}: {' '.join(texts)}",
        "Set these hyperparameters if you mean other columns.",
        where,
        "warning" if after.known == UNKNOWN else "note",
    )
