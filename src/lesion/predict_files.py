"""Predict files: a set of pictures, in any form that training takes, through a predictor, to a CSV."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from lesion.algorithms.base import Device, Options, PrecisionChoice, Predictor
from lesion.algorithms.cases import outputs_of_cases
from lesion.algorithms.written_by import algorithm_of_artifact
from lesion.data.decode.images import Pixels
from lesion.data.prediction_set import open_prediction_set, warn_of_unknown_words
from lesion.data.sources.frames import FramesOf, OfFiles
from lesion.data.table import Columns, Source
from lesion.data.write_csv import write_csv
from lesion.errors import LesionError, UserError
from lesion.files import ensure_writable

log = logging.getLogger(__name__)


def predict_files(
    source_path: Path,
    *,
    model_dir: Path,
    output: Path,
    source: str = "auto",
    image_column: str | None = None,
    device: Device,
    fold: int | None,
    precision: PrecisionChoice,
    operating_point: str | None = None,
    maps: Path | None = None,
    num_cores: int,
    show_progress: bool,
) -> int:
    """Writes picture, probability, label and error for each row of the set at `source_path`, in its order.

    `maps` is a folder for the maps of the answers, where the algorithm has them.
    `source` is the set's format and `image_column` the column of its pictures, unless they are found. Returns how many
    could not be predicted; their rows hold the error and no probability, and the others are kept.
    Raises PlatformError, before anything is predicted, if `output` cannot be written.
    """
    ensure_writable(output)
    algorithm = algorithm_of_artifact(model_dir)
    predictor = algorithm.load(
        model_dir,
        device=device,
        num_cores=num_cores,
        fold=fold,
        precision=precision,
        operating_point=operating_point,
    )
    pictures = open_set(source_path, predictor, source=source, image_column=image_column)
    names, rows = pictures.table().name_S.tolist(), pictures.table().metadata_rows()
    warn_of_unknown_words(rows, predictor.metadata_words)
    paths = pictures.paths if isinstance(pictures, OfFiles) else [None] * len(names)
    frames = FramesOf(pictures, paths, predictor.dicom_frames)
    if remark := frames.remark(str(source_path)):
        log.warning("%s", remark.what)
    map_writer = None if maps is None else algorithm.map_writer(predictor, maps, pictures.table())
    indices_of: dict[int, list[int]] = {}  # of a row: the pictures that are its frames
    for index, (row, _) in enumerate(frames.places):
        indices_of.setdefault(row, []).append(index)
    nothing = dict.fromkeys(predictor.column_names, "")
    answers: list[dict[str, Any]] = []

    with tqdm(total=len(names), unit="image", disable=not show_progress) as bar:
        for row, output_or_error in enumerate(outputs_of_cases(predictor, frames, rows, num_workers=num_cores)):
            if isinstance(output_or_error, LesionError):
                answers.append({**nothing, "error": str(output_or_error)})
            else:
                answers.append({**predictor.answer(output_or_error, Options()).columns, "error": ""})
                if map_writer is not None:
                    map_writer.write(row, output_or_error, partial(_read_frame, frames, indices_of[row]))
            bar.update()
    if map_writer is not None:
        map_writer.finish()
    columns = {name: [answer[name] for answer in answers] for name in [*predictor.column_names, "error"]}
    write_csv(output, pd.DataFrame({predictor.image_column: names, **columns}))
    num_failed = sum(bool(answer["error"]) for answer in answers)
    log.info("predictions=%s pictures=%d unanswered=%d", output, len(names), num_failed)
    return num_failed


def _read_frame(frames: FramesOf, indices: Sequence[int], view: int) -> Pixels:
    """The picture of a row by the number of its view."""
    return frames.read(indices[view])


def open_set(path: Path, predictor: Predictor, *, source: str, image_column: str | None) -> Source:
    """The set at `path` with the metadata that the predictor takes; logs which of it the set lacks."""
    wanted = tuple(predictor.metadata_columns)
    columns = Columns(image=image_column or predictor.image_column, metadata=wanted, decode_px=predictor.decode_px)
    opened = open_prediction_set(path, columns, source=source)
    if image_column is not None and (taken := opened.table().image_column).casefold() != image_column.casefold():
        do = f"Name one that is there, or leave --image-column out to take '{taken}'."
        raise UserError(f"column '{image_column}' not found", where=opened.table().where, do=do)
    if absent := [name for name in wanted if name not in opened.table().metadata.columns]:
        log.warning("metadata columns not in %s, taken as missing: %s", path, ", ".join(absent))
    return opened
