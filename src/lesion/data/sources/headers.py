"""Headers: fills missing metadata columns from DICOM headers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lesion.data import dicom
from lesion.data.reading import COPY_AGAIN, MAX_PICTURE_BYTES, file_content, reading
from lesion.data.table import USUAL_METADATA, Columns

log = logging.getLogger(__name__)


def with_headers(frame: pd.DataFrame, paths: Sequence[Path | None], columns: Columns) -> pd.DataFrame:
    """The frame with the missing ones of dicom.COLUMNS added, if its pictures are DICOM files.

    Logs which. Raises UserError for a file named as DICOM that is not DICOM.
    """
    wanted = {columns.group, *(USUAL_METADATA if columns.metadata is None else columns.metadata)}
    absent = [name for name in dicom.COLUMNS if name in wanted and name not in frame]
    if not absent or not any(path is not None and path.suffix.lower() in dicom.SUFFIXES for path in paths):
        return frame
    headers = [_header(path) for path in paths]
    found = [name for name in absent if any(name in header for header in headers)]
    log.info("from DICOM headers: %s", ", ".join(found) or "nothing")
    return frame.assign(**{name: pd.array([header.get(name) for header in headers], dtype="string") for name in found})


def _header(path: Path | None) -> dict[str, str]:
    if path is None or path.suffix.lower() not in dicom.SUFFIXES:
        return {}
    content = file_content(path, max_bytes=MAX_PICTURE_BYTES, kind="unreadable_image")
    with reading(path, "not a readable DICOM file", do=COPY_AGAIN, kind="unreadable_image"):
        return {name: str(value) for name, value in dicom.metadata(content).items()}
