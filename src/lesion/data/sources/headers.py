"""Headers: fills missing metadata columns from DICOM headers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lesion.data import dicom, images
from lesion.data.image_files import are_dicom
from lesion.data.reading import MAX_PICTURE_BYTES, file_content
from lesion.data.table import Columns
from lesion.errors import UserError

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
    if not absent or not any(are := are_dicom(there)):
        return frame
    bad = unreadable if columns.is_for_prediction else None
    of_path = {path: _header(path, bad) for path, is_dicom in zip(there, are, strict=True) if is_dicom}
    headers = [{} if path is None else of_path.get(path, {}) for path in paths]
    found = [name for name in absent if any(name in header for header in headers)]
    log.info("from DICOM headers: %s", ", ".join(found) or "nothing")
    return frame.assign(**{name: pd.array([header.get(name) for header in headers], dtype="string") for name in found})


def _header(path: Path, unreadable: dict[Path, UserError] | None) -> dict[str, str]:
    try:
        return _own(path)
    except UserError as error:
        if unreadable is None:
            raise
        unreadable[path] = error
        return {}


def _own(path: Path) -> dict[str, str]:
    content = file_content(path, max_bytes=MAX_PICTURE_BYTES, kind="unreadable_image")
    return {name: str(value) for name, value in images.header(content, name=path).items()}
