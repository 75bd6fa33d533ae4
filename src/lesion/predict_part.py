"""Predict part: a set that is predicted, opened, and the answers of some of its rows.

One function does a part, in this process, in another, or on a Ray cluster. Its answers depend on the rows and the model
alone, so it does not matter who computed it, nor how often.
"""

# S samples

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from lesion.algorithms.base import Device, MapWriter, Options, PrecisionChoice, Predictor
from lesion.algorithms.cases import outputs_of_cases
from lesion.algorithms.written_by import algorithm_of_artifact
from lesion.data.decode.images import Pixels
from lesion.data.metadata import Row
from lesion.data.prediction_set import open_prediction_set
from lesion.data.sources.frames import FramesOf, OfFiles
from lesion.data.table import Columns, Rows, Source
from lesion.errors import LesionError, UserError
from lesion.files import write_atomic

log = logging.getLogger(__name__)

Cells = dict[str, Any]  # a row of the CSV but for its name, as JSON types


@dataclass(frozen=True)
class Plan:
    """What is predicted by what, and how its rows are cut into parts."""

    source_path: Path
    source: str
    image_column: str | None
    model_dir: Path
    device: Device
    fold: int | None
    precision: PrecisionChoice
    operating_point: str | None
    num_cores: int  # of each process
    folder: Path  # where the parts are kept
    rows_per_part: int

    def rows(self, number: int, num_rows: int) -> range:
        """The rows of a part of a set of `num_rows`."""
        start = number * self.rows_per_part
        return range(start, min(start + self.rows_per_part, num_rows))

    def num_parts(self, num_rows: int) -> int:
        return -(-num_rows // self.rows_per_part)

    def path(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.json"


@dataclass(frozen=True)
class OpenSet:
    """A set that is predicted, and what predicts it."""

    predictor: Predictor
    pictures: Source
    name_S: Sequence[str]
    rows: Sequence[Row]  # the metadata of each
    paths: Sequence[Path | None]  # None where a picture is not a file of its own

    def frames(self, rows: range) -> FramesOf:
        """The pictures of these rows."""
        some = Rows(self.pictures, np.arange(rows.start, rows.stop))
        return FramesOf(some, [self.paths[row] for row in rows], self.predictor.dicom_frames)


def open_plan(plan: Plan) -> OpenSet:
    """The plan's set and model. Raises UserError for either that cannot be used."""
    predictor = algorithm_of_artifact(plan.model_dir).load(
        plan.model_dir,
        device=plan.device,
        num_cores=plan.num_cores,
        fold=plan.fold,
        precision=plan.precision,
        operating_point=plan.operating_point,
    )
    pictures = open_for(plan.source_path, predictor, source=plan.source, image_column=plan.image_column)
    table = pictures.table()
    paths = pictures.paths if isinstance(pictures, OfFiles) else [None] * len(table)
    return OpenSet(predictor, pictures, table.name_S.tolist(), table.metadata_rows(), paths)


def open_for(path: Path, predictor: Predictor, *, source: str, image_column: str | None) -> Source:
    """The set at `path` with the metadata that the predictor takes; logs which of it the set lacks."""
    wanted = tuple(predictor.metadata_columns)
    columns = Columns(image=image_column or predictor.image_column, metadata=wanted, decode_px=predictor.decode_px)
    pictures = open_prediction_set(path, columns, source=source)
    if image_column is not None and (taken := pictures.table().image_column).casefold() != image_column.casefold():
        do = f"Name one that is there, or leave --image-column out to take '{taken}'."
        raise UserError(f"column '{image_column}' not found", where=pictures.table().where, do=do)
    if absent := [name for name in wanted if name not in pictures.table().metadata.columns]:
        log.warning("metadata columns not in %s, taken as missing: %s", path, ", ".join(absent))
    return pictures


def answers(open_set: OpenSet, rows: range, *, num_cores: int, map_writer: MapWriter | None = None) -> Iterator[Cells]:
    """The cells of each of the rows, in their order; those of a row that cannot be predicted are empty but for its
    error."""
    predictor, frames = open_set.predictor, open_set.frames(rows)
    indices_of: dict[int, list[int]] = {}  # of a row: the pictures that are its frames
    for index, (place, _) in enumerate(frames.places):
        indices_of.setdefault(place, []).append(index)
    nothing = dict.fromkeys(predictor.column_names, "")
    metadata = open_set.rows[rows.start : rows.stop]
    outputs = outputs_of_cases(predictor, frames, metadata, num_workers=num_cores)
    for place, output_or_error in enumerate(outputs):
        if isinstance(output_or_error, LesionError):
            yield {**nothing, "error": str(output_or_error)}
            continue
        yield {**predictor.answer(output_or_error, Options()).columns, "error": ""}
        if map_writer is not None:
            map_writer.write(rows[place], output_or_error, partial(_read_frame, frames, indices_of[place]))


def write_part(plan: Plan, open_set: OpenSet, number: int, *, on_row: Callable[[], object] = lambda: None) -> int:
    """Computes one part and writes it whole. Returns how many rows it has."""
    cells = []
    for row in answers(open_set, plan.rows(number, len(open_set.name_S)), num_cores=plan.num_cores):
        cells.append(row)
        on_row()
    write_atomic(plan.path(number), json.dumps(cells).encode())
    return len(cells)


def write_part_in_worker(plan: Plan, number: int) -> int:
    """The same in a process of its own, whose parent has said already what there is to say of the set."""
    logging.getLogger("lesion").setLevel(logging.ERROR)
    return write_part(plan, _opened(plan), number)


_opened = lru_cache(maxsize=1)(open_plan)  # a worker does many parts of one set


def read_part(plan: Plan, number: int, num_rows: int) -> list[Cells] | None:
    """The cells of a part of a set of `num_rows`; None where it is not finished."""
    try:
        cells: list[Cells] = json.loads(plan.path(number).read_bytes())
    except (OSError, ValueError):
        return None
    return cells if len(cells) == len(plan.rows(number, num_rows)) else None


def _read_frame(frames: FramesOf, indices: Sequence[int], view: int) -> Pixels:
    """The picture of a row by the number of its view."""
    return frames.read(indices[view])
