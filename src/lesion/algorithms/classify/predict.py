"""Predict: a source's pictures through a predictor, to probabilities."""

# K outputs · S samples

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.classify.answer import combine
from lesion.algorithms.classify.ensemble import Ensemble, Prepared
from lesion.data.metadata import Row
from lesion.data.table import Readable
from lesion.errors import LesionError
from lesion.inference.batches import compute_in_batches


def predict_source(
    predictor: Ensemble,
    source: Readable,
    rows: Sequence[Row],
    *,
    num_workers: int,
    on_error: Callable[[int, LesionError], None],
) -> NDArray[np.float32]:
    """Probabilities [S, K] of a source's pictures with their rows of metadata, read by threads.

    A picture or row that cannot be used, or whose output is not finite, is reported to `on_error` with its place, and
    its probabilities are NaN.
    """

    def prepare(index: int) -> Prepared:
        return predictor.prepare(source.read(index), rows[index])

    probs_SK = np.full((len(rows), predictor.target.num_outputs), np.nan, dtype=np.float32)
    outputs = compute_in_batches(
        predictor.executors, prepare, len(rows), max_batch=predictor.max_batch, num_workers=num_workers
    )
    for index, output in outputs:
        if isinstance(output, LesionError):
            on_error(index, output)
        else:
            probs_SK[index] = combine(predictor.target, output.logits_FVK)
    return probs_SK
