"""Loader: samples to batches, read and transformed by threads.

Which thread does a sample never changes what comes out.
"""

# N batch · C channels · H, W pixels · K outputs · M metadata features · S samples

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesion.data.table import Source
from lesion.data.transforms import Transform

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Batch:
    """N samples: where they stand in the table, pixels as uint8, features and targets as float32."""

    index_N: Indices
    images_NCHW: NDArray[np.uint8]
    metadata_NM: NDArray[np.float32]
    targets_NK: NDArray[np.float32]


@dataclass(frozen=True)
class Dataset:
    """A source's pictures with the features and targets of all its rows; what one fold's loaders share.

    `nothing_M` are the features of a row that says nothing.
    """

    source: Source
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


def load(
    dataset: Dataset,
    batches: list[Indices],
    transform_factory: Callable[[], Transform],
    *,
    num_workers: int,
    key: tuple[int, ...] = (0,),
    metadata_dropout: float = 0.0,
) -> Iterator[Batch]:
    """The batches one after another, `num_workers` threads reading ahead; 0 reads in the caller's thread.

    Threads and not processes: Pillow, OpenCV and albumentations' kernels let go of the interpreter's lock, and
    /dev/shm, 64 MiB on SageMaker, is not needed. Each sample's randomness comes from (*key, its row), with
    key = (seed, fold, epoch) in training.
    A share `metadata_dropout` of the samples loses all its metadata, so that a network learns to do without.
    `transform_factory` makes one transform for each thread. Raises what reading raises, at the batch concerned.
    """
    own = threading.local()

    def sample(index: int) -> NDArray[np.uint8]:
        if not hasattr(own, "transform"):
            own.transform = transform_factory()
        image_HWC = own.transform(dataset.source.read(index), np.random.SeedSequence([*key, index]))
        return np.ascontiguousarray(image_HWC.transpose(2, 0, 1))

    def assemble(index_N: Indices, images: list[NDArray[np.uint8]]) -> Batch:
        metadata_NM = dataset.metadata_SM[index_N]
        if metadata_dropout:
            draws_N = [np.random.default_rng(np.random.SeedSequence([*key, index, 1])).random() for index in index_N]
            metadata_NM[np.array(draws_N) < metadata_dropout] = dataset.nothing_M
        return Batch(index_N, np.stack(images), metadata_NM, dataset.targets_SK[index_N])

    if num_workers == 0:
        for index_N in batches:
            yield assemble(index_N, [sample(int(index)) for index in index_N])
        return

    with ThreadPoolExecutor(num_workers, thread_name_prefix="loader") as pool:
        waiting: deque[tuple[Indices, list[Future[NDArray[np.uint8]]]]] = deque()
        upcoming = iter(batches)
        try:
            while True:
                for index_N in itertools.islice(upcoming, 3 - len(waiting)):  # one in use, two ahead
                    waiting.append((index_N, [pool.submit(sample, int(index)) for index in index_N]))
                if not waiting:
                    return
                index_N, futures = waiting.popleft()
                yield assemble(index_N, [future.result() for future in futures])
        finally:  # also when the consumer stops early or a picture fails: do not decode what nobody will take
            pool.shutdown(wait=True, cancel_futures=True)
