"""Predict: a source's pictures through a predictor, by threads that read and lanes that compute."""

# K outputs · S samples

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.classify.ensemble import Ensemble
from lesion.data.images import Pixels
from lesion.data.loader import ordered_batches
from lesion.data.metadata import Row
from lesion.data.table import Readable
from lesion.errors import LesionError, UserError


def predict_source(
    predictor: Ensemble,
    source: Readable,
    rows: Sequence[Row],
    *,
    batch_size: int,
    num_workers: int,
    on_error: Callable[[int, LesionError], None],
    on_batch: Callable[[int], object] = lambda _: None,
) -> NDArray[np.float32]:
    """Probabilities [S, K] of a source's pictures with their rows of metadata, read by threads.

    A picture or row that cannot be used, or whose answer is no number, is told to `on_error` with its place, and its
    probabilities are NaN; `on_batch` is told how many more are done.
    """

    def read(index: int) -> Pixels | UserError:
        try:
            return source.read(index)
        except UserError as error:
            return error

    def answer(indices: list[int], pictures: list[Pixels]) -> None:
        try:
            found[indices] = predictor.predict(pictures, [rows[index] for index in indices])
        except LesionError as error:
            if len(indices) == 1:
                on_error(indices[0], error)
                return
            for index, picture in zip(indices, pictures, strict=True):  # one bad row among them: each alone
                answer([index], [picture])

    found = np.full((len(rows), predictor.model.question.num_outputs), np.nan, dtype=np.float32)
    with ThreadPoolExecutor(max(num_workers, 1)) as pool:
        for batch in ordered_batches(np.arange(len(rows)), batch_size):
            good: dict[int, Pixels] = {}
            for index, picture in zip(batch.tolist(), pool.map(read, batch.tolist()), strict=True):
                if isinstance(picture, UserError):
                    on_error(index, picture)
                else:
                    good[index] = picture
            if good:
                answer(list(good), list(good.values()))
            on_batch(len(batch))
    return found
