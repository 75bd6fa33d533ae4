"""Headers: fills missing metadata columns from DICOM headers, and compares their patients with the groups."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from lesion.data.decode import dicom, images
from lesion.data.decode.image_files import are_dicom
from lesion.data.decode.reading import MAX_PICTURE_BYTES, file_content
from lesion.data.groups import normal_id, unknown_S
from lesion.data.remark import Remark
from lesion.data.sources.tables.csv_table import with_remarks
from lesion.data.table import Columns
from lesion.errors import UserError
from lesion.words import listed, number_of

log = logging.getLogger(__name__)


def with_headers(
    frame: pd.DataFrame,
    paths: Sequence[Path | None],
    columns: Columns,
    unreadable: dict[Path, UserError],
) -> pd.DataFrame:
    """The frame with the missing ones of dicom.COLUMNS added, if any of its pictures is a DICOM file.

    Logs which. Raises UserError for a DICOM file whose header cannot be read. In a set to predict such a file is put
    among the `unreadable` ones instead, for whoever reads its picture.
    """
    wanted = {columns.group, *(columns.usual_metadata if columns.metadata is None else columns.metadata)}
    absent = [name for name in dicom.COLUMNS if name in wanted and name not in frame]
    there = [path for path in paths if path is not None]
    is_compared = columns.group in frame and not columns.is_for_prediction
    if not (absent or is_compared) or not any(are := are_dicom(there)):
        return frame
    bad = unreadable if columns.is_for_prediction else {}
    of_path = {path: _header(path, bad) for path, is_dicom in zip(there, are, strict=True) if is_dicom}
    if absent and bad and not columns.is_for_prediction:
        raise next(iter(bad.values()))
    headers = [{} if path is None else of_path.get(path, {}) for path in paths]
    if is_compared:
        frame = _with_patients_compared(frame, [header.get("patient_id", "") for header in headers], columns)
    if not absent:
        return frame
    found = [name for name in absent if any(name in header for header in headers)]
    log.info("from DICOM headers: %s", ", ".join(found) or "nothing")
    return frame.assign(**{name: pd.array([header.get(name) for header in headers], dtype="string") for name in found})


def _with_patients_compared(frame: pd.DataFrame, patient_S: Sequence[str], columns: Columns) -> pd.DataFrame:
    """The frame, with a warning where DICOM headers name one patient [S] in rows of several groups of the table.

    Not if all files name the same one, or a word for unknown: they are anonymised.
    """
    group_S = frame[columns.group].str.strip().fillna("").tolist()
    known_S = ~unknown_S(np.array(patient_S, dtype=np.str_)) & ~unknown_S(np.array(group_S, dtype=np.str_))
    pairs = {(normal_id(patient_S[row]), normal_id(group_S[row])) for row in np.flatnonzero(known_S).tolist()}
    groups_of: dict[str, list[str]] = {}
    for patient, group in sorted(pairs):
        groups_of.setdefault(patient, []).append(group)
    several = {patient: groups for patient, groups in groups_of.items() if len(groups) > 1}
    if not several or len(groups_of) == 1:
        return frame
    told = listed([f"{patient} in {listed(groups, most=3)}" for patient, groups in several.items()], most=3)
    what = (
        f"the DICOM headers name {len(groups_of)} patients in rows of {len({group for _, group in pairs})} groups of "
        f"column '{columns.group}', and {number_of(len(several), 'patient')} are in several groups: {told}. Images of "
        "one patient may be in training and in validation"
    )
    do = "Set group_column to a column of patients, or remove it from the table: PatientID is then the group."
    return with_remarks(frame, [Remark("patients_in_several_groups", what, do, level="warning")])


def _header(path: Path, unreadable: dict[Path, UserError]) -> dict[str, str]:
    try:
        return _own(path)
    except UserError as error:
        unreadable[path] = error
        return {}


def _own(path: Path) -> dict[str, str]:
    content = file_content(path, max_bytes=MAX_PICTURE_BYTES, kind="unreadable_image")
    return {name: str(value) for name, value in images.header(content, name=path).items()}
