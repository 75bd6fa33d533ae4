"""Headers: fills missing metadata columns from DICOM headers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lesion.data import dicom, images
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
    """The frame with the missing ones of dicom.COLUMNS added, if its pictures are DICOM files.

    Logs which. Raises UserError for a file named as DICOM that is not DICOM. In a set to predict such a file is put
    among the `unreadable` ones instead, for whoever reads its picture.
    """
    wanted = {columns.group, *(columns.usual_metadata if columns.metadata is None else columns.metadata)}
    absent = [name for name in dicom.COLUMNS if name in wanted and name not in frame]
    if not absent or not any(path is not None and path.suffix.lower() in dicom.SUFFIXES for path in paths):
        return frame
    headers = [_header(path, unreadable if columns.is_for_prediction else None) for path in paths]
    found = [name for name in absent if any(name in header for header in headers)]
    log.info("from DICOM headers: %s", ", ".join(found) or "nothing")
    return frame.assign(**{name: pd.array([header.get(name) for header in headers], dtype="string") for name in found})


def _header(path: Path | None, unreadable: dict[Path, UserError] | None) -> dict[str, str]:
    if path is None or path.suffix.lower() not in dicom.SUFFIXES:
        return {}
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
