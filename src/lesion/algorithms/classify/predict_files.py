"""Predict files: a CSV or a folder of pictures through an artifact, to a CSV."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from lesion.algorithms.classify.load import Device, Wanted, load
from lesion.algorithms.classify.manifest import ClassifierRecord
from lesion.algorithms.classify.predict import predict_source
from lesion.algorithms.classify.results import answer_columns, write_csv
from lesion.data import dicom, images
from lesion.data.metadata import Row
from lesion.data.reading import MAX_PICTURE_BYTES, file_content
from lesion.data.sources.csv_folder import CsvFolder
from lesion.data.sources.place import walk_files
from lesion.data.sources.rows import read_csv
from lesion.data.table import Columns, Readable
from lesion.errors import LesionError, UserError
from lesion.files import ensure_writable

log = logging.getLogger(__name__)

BATCH_SIZE = 16


def predict_files(
    source_path: Path,
    *,
    model_dir: Path,
    output: Path,
    device: Device,
    fold: int | None,
    precision: Wanted,
    num_cores: int,
    show_progress: bool,
) -> int:
    """Writes picture, probability, label and error for each row of a CSV or each picture below a folder, in order.

    Returns how many could not be answered; their rows hold the error and no probability, so that nothing else is lost.
    Raises PlatformError, before anything is predicted, where `output` cannot be written.
    """
    ensure_writable(output)
    predictor = load(model_dir, device=device, num_cores=num_cores, fold=fold, precision=precision)
    model = predictor.model
    names, rows, source = _open(source_path, model)
    errors = [""] * len(names)
    with tqdm(total=len(names), unit="picture", disable=not show_progress) as bar:

        def note(index: int, error: LesionError) -> None:
            errors[index] = str(error)

        probs_SK = predict_source(
            predictor, source, rows, batch_size=BATCH_SIZE, num_workers=num_cores, on_error=note, on_batch=bar.update
        )

    labels = ["" if error else "|".join(model.labels(probs_K)) for probs_K, error in zip(probs_SK, errors, strict=True)]
    answers = answer_columns(model.question, probs_SK)
    frame = pd.DataFrame({model.image_column: names, **answers, "label": labels, "error": errors})
    write_csv(output, frame)
    num_failed = sum(map(bool, errors))
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


def _open(path: Path, model: ClassifierRecord) -> tuple[list[str], Sequence[Row], Readable]:
    """Names, metadata and pictures of what `path` holds."""
    if path.is_dir():
        paths = [found for found in walk_files(path) if found.suffix.lower() in images.SUFFIXES]
        if not paths:
            raise UserError(
                "no pictures in this folder", where=path, do=f"Looked for {', '.join(sorted(images.SUFFIXES))}."
            )
        files = _Files(paths)
        return [found.relative_to(path).as_posix() for found in paths], files.rows(), files
    header = read_csv(path).columns
    columns = Columns(
        image=model.image_column if model.image_column in header else None,
        metadata=tuple(name for name in model.metadata_columns if name in header),
    )
    if absent := [name for name in model.metadata_columns if name not in header]:
        log.warning("metadata columns not in %s, taken as missing: %s", path, ", ".join(absent))
    csv_source = CsvFolder(path, columns)
    table = csv_source.table()
    return table.name_S.tolist(), table.metadata_rows(), csv_source
