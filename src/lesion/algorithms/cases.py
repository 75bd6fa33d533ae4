"""Cases: one output for each row of a set: of a file with several frames the mean over those that are predicted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from lesion.algorithms.base import Options, Output, Predictor, joined
from lesion.data.metadata import Row
from lesion.data.sources.frames import FramesOf
from lesion.errors import LesionError
from lesion.inference.batches import compute_in_batches


def outputs_of_cases(
    predictor: Predictor, pictures: FramesOf, rows: Sequence[Row], *, num_workers: int
) -> Iterator[Output | LesionError]:
    """Yields in the rows' order what an executor computes of each, with its metadata; or why it could not be read."""

    def prepare(index: int) -> Any:
        return predictor.prepare(pictures.read(index), rows[pictures.places[index][0]], Options())

    outputs = compute_in_batches(
        predictor.executors, prepare, len(pictures.places), max_batch=predictor.max_batch, num_workers=num_workers
    )
    # The frames of a file follow one another, and are one case.
    for _, of_file in groupby(outputs, key=lambda output: pictures.places[output[0]][0]):
        yield joined(output_or_error for _, output_or_error in of_file)
