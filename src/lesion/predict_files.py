"""Predict files: a CSV or a folder of pictures through a predictor, to a CSV."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from lesion.algorithms.base import Device, Options, PrecisionChoice, Predictor
from lesion.algorithms.written_by import algorithm_of_artifact
from lesion.data import dicom, images
from lesion.data.metadata import Row
from lesion.data.reading import MAX_PICTURE_BYTES, file_content
from lesion.data.sources.csv_folder import CsvFolder
from lesion.data.sources.location import walk_images
from lesion.data.sources.rows import read_csv
from lesion.data.table import Columns, Readable
from lesion.data.write_csv import write_csv
from lesion.errors import LesionError, UserError
from lesion.files import ensure_writable
from lesion.inference.batches import compute_in_batches

log = logging.getLogger(__name__)


def predict_files(
    source_path: Path,
    *,
    model_dir: Path,
    output: Path,
    device: Device,
    fold: int | None,
    precision: PrecisionChoice,
    num_cores: int,
    show_progress: bool,
) -> int:
    """Writes picture, probability, label and error for each row of a CSV or each picture below a folder, in order.

    Returns how many could not be predicted; their rows hold the error and no probability, and the others are kept.
    Raises PlatformError, before anything is predicted, if `output` cannot be written.
    """
    ensure_writable(output)
    predictor = algorithm_of_artifact(model_dir).load(
        model_dir, device=device, num_cores=num_cores, fold=fold, precision=precision
    )
    names, rows, source = _open(source_path, predictor)
    nothing = dict.fromkeys(predictor.column_names, "")
    answers: list[dict[str, Any]] = []

    def prepare(index: int) -> Any:
        return predictor.prepare(source.read(index), rows[index], Options())

    outputs = compute_in_batches(
        predictor.executors, prepare, len(names), max_batch=predictor.max_batch, num_workers=num_cores
    )
    with tqdm(total=len(names), unit="image", disable=not show_progress) as bar:
        for _, output_or_error in outputs:
            if isinstance(output_or_error, LesionError):
                answers.append({**nothing, "error": str(output_or_error)})
            else:
                answers.append({**predictor.answer(output_or_error, Options()).columns, "error": ""})
            bar.update()
    columns = {name: [answer[name] for answer in answers] for name in [*predictor.column_names, "error"]}
    write_csv(output, pd.DataFrame({predictor.image_column: names, **columns}))
    num_failed = sum(bool(answer["error"]) for answer in answers)
    log.info("predictions=%s pictures=%d unanswered=%d", output, len(names), num_failed)
    return num_failed


class _Files:
    """Pictures by path, for a folder without a table: what their own headers say is their metadata."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._headers = [_header(path) for path in paths]

    def rows(self) -> list[Row]:
        return [{} if isinstance(header, UserError) else header for header in self._headers]

    def read(self, index: int) -> images.Pixels:
        """Raises UserError for a picture that cannot be read, or whose header cannot: it may say what counts."""
        header = self._headers[index]
        if isinstance(header, UserError):
            raise header
        return images.read(self._paths[index])


def _header(path: Path) -> Row | UserError:
    """A file's own metadata, or why it cannot be had."""
    if path.suffix.lower() not in dicom.SUFFIXES:
        return {}
    try:
        content = file_content(path, max_bytes=MAX_PICTURE_BYTES, kind="unreadable_image")
        return images.header(content, name=path)
    except UserError as error:
        return error


def _open(path: Path, predictor: Predictor) -> tuple[list[str], Sequence[Row], Readable]:
    """Names, metadata and pictures of what `path` holds."""
    if path.is_dir():
        paths = walk_images(path)
        if not paths:
            raise UserError(
                "no images in this folder", where=path, do=f"Looked for {', '.join(sorted(images.SUFFIXES))}."
            )
        files = _Files(paths)
        return [found.relative_to(path).as_posix() for found in paths], files.rows(), files
    header = read_csv(path).columns
    columns = Columns(
        image=predictor.image_column if predictor.image_column in header else None,
        metadata=tuple(name for name in predictor.metadata_columns if name in header),
    )
    if absent := [name for name in predictor.metadata_columns if name not in header]:
        log.warning("metadata columns not in %s, taken as missing: %s", path, ", ".join(absent))
    csv_source = CsvFolder(path, columns)
    table = csv_source.table()
    return table.name_S.tolist(), table.metadata_rows(), csv_source
