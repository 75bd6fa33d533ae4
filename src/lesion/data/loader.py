"""Loader: samples to batches, read and augmented by threads.

The result never depends on which thread reads a sample.
"""

# N batch · C channels · H, W pixels · K outputs · M metadata features · S samples

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesion.data.cache import Pictures
from lesion.data.decode.images import Pixels

if TYPE_CHECKING:  # albumentations is slow to import, and prediction, which needs a Batch, does without
    from lesion.data.augment import Augment

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Batch:
    """N samples: their indices in the table, pixels as uint8, features and targets as float32."""

    index_N: Indices
    images_NHWC: NDArray[np.uint8]
    metadata_NM: NDArray[np.float32]
    targets_NK: NDArray[np.float32]


@dataclass(frozen=True)
class Dataset:
    """Pictures with the features and targets of all their rows; what one fold's loaders share.

    `nothing_M` are the features of a row without metadata.
    """

    pictures: Pictures
    metadata_SM: NDArray[np.float32]
    targets_SK: NDArray[np.float32]
    nothing_M: NDArray[np.float32]


def training_batches(rows_S: Indices, batch_size: int, *, key: tuple[int, ...]) -> list[Indices]:
    """Every row once, in an order that depends on the key (seed, fold, epoch) alone, in batches of nearly one size.

    Nearly: 130 rows in batches of 64 give 44, 43 and 43, so that no ragged last batch of one row meets BatchNorm, and
    none is dropped.
    """
    order = np.random.default_rng(np.random.SeedSequence(key)).permutation(rows_S)
    return np.array_split(order, -(-len(order) // batch_size))


def ordered_batches(rows_S: Indices, batch_size: int) -> list[Indices]:
    """Every row once, in the given order; the last batch holds what is left."""
    return [rows_S[start : start + batch_size] for start in range(0, len(rows_S), batch_size)]


def load_batches(
    dataset: Dataset,
    batches: list[Indices],
    augment: Augment | None = None,
    *,
    num_workers: int,
    key: tuple[int, ...] = (0,),
    metadata_dropout: float = 0.0,
) -> Iterator[Batch]:
    """The batches one after another, `num_workers` threads reading ahead; 0 reads in the caller's thread.

    With `augment` the training squares, augmented; without the squares that prediction sees.
    Threads and not processes: Pillow, OpenCV and file reads release the GIL, and /dev/shm, 64 MiB on SageMaker, is not
    needed. Each sample's randomness comes from (*key, its row), with key = (seed, fold, epoch) in
    training.
    A share `metadata_dropout` of the samples loses all its metadata, so that a network learns to do without.
    Raises what reading raises, at the batch concerned.
    """
    pictures = dataset.pictures
    side_px = pictures.image_size if augment is None else augment.image_size

    def fill(index: int, out_HWC: Pixels) -> None:
        if augment is None:
            pictures.square(index, out_HWC)
        else:
            out_HWC[:] = augment(pictures.training(index), np.random.SeedSequence([*key, index]))

    def empty(index_N: Indices) -> NDArray[np.uint8]:
        return np.empty((len(index_N), side_px, side_px, 3), np.uint8)

    def batch_of(index_N: Indices, images_NHWC: NDArray[np.uint8]) -> Batch:
        metadata_NM = dataset.metadata_SM[index_N]
        if metadata_dropout:
            draws_N = [np.random.default_rng(np.random.SeedSequence([*key, index, 1])).random() for index in index_N]
            metadata_NM[np.array(draws_N) < metadata_dropout] = dataset.nothing_M
        return Batch(index_N, images_NHWC, metadata_NM, dataset.targets_SK[index_N])

    if num_workers == 0:
        for index_N in batches:
            images_NHWC = empty(index_N)
            for index, out_HWC in zip(index_N.tolist(), images_NHWC, strict=True):
                fill(index, out_HWC)
            yield batch_of(index_N, images_NHWC)
        return

    with ThreadPoolExecutor(num_workers, thread_name_prefix="loader") as pool:
        waiting: deque[tuple[Indices, NDArray[np.uint8], list[Future[None]]]] = deque()
        upcoming = iter(batches)
        try:
            while True:
                for index_N in itertools.islice(
                    upcoming, 3 - len(waiting)
                ):  # one in use, two ahead: more would only take memory, since a batch is read by all threads at once
                    images_NHWC = empty(index_N)
                    futures = [pool.submit(fill, *each) for each in zip(index_N.tolist(), images_NHWC, strict=True)]
                    waiting.append((index_N, images_NHWC, futures))
                if not waiting:
                    return
                index_N, images_NHWC, futures = waiting.popleft()
                for future in futures:
                    future.result()
                yield batch_of(index_N, images_NHWC)
        finally:  # also when the consumer stops early or a picture fails: do not decode what nobody will take
            pool.shutdown(wait=True, cancel_futures=True)
