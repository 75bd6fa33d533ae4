"""Batches: the rows of a data set to outputs, in their order, in batches that are always the same.

Pictures are read ahead by threads while executors compute. A server's pipeline takes what has come; here the batches
follow from the rows alone, so that a prediction repeats bit for bit.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from lesion.errors import LesionError
from lesion.inference.batcher import Executor

Output = TypeVar("Output")
AHEAD = 2  # batches that are read while one is computed


def compute_in_batches(
    executors: Sequence[Executor[Output]],
    prepare: Callable[[int], Any],
    num_rows: int,
    *,
    max_batch: int,
    num_workers: int,
) -> Iterator[tuple[int, Output | LesionError]]:
    """Each row's number with its output, or with the error that is its own.

    `prepare` reads the picture of a row and makes of it what an executor takes; it runs in `num_workers` threads. A
    row whose picture cannot be prepared, or of a batch that cannot be computed, does not harm the others.
    """
    free: queue.SimpleQueue[Executor[Output]] = queue.SimpleQueue()
    for executor in executors:
        free.put(executor)

    def compute(pictures: Sequence[Future[Any]]) -> list[Output | LesionError]:
        prepared = [_result(picture) for picture in pictures]
        good = [number for number, picture in enumerate(prepared) if not isinstance(picture, LesionError)]
        executor = free.get()
        try:
            outputs = _compute(executor, [prepared[number] for number in good]) if good else []
        finally:
            free.put(executor)
        for number, output in zip(good, outputs, strict=True):
            prepared[number] = output
        return prepared

    with (
        ThreadPoolExecutor(max(num_workers, 1), thread_name_prefix="read") as readers,
        ThreadPoolExecutor(len(executors), thread_name_prefix="compute") as computers,
    ):
        under_way: deque[tuple[range, Future[list[Output | LesionError]]]] = deque()
        try:
            for start in range(0, num_rows, max_batch):
                rows = range(start, min(start + max_batch, num_rows))
                pictures = [readers.submit(prepare, row) for row in rows]
                under_way.append((rows, computers.submit(compute, pictures)))
                if len(under_way) > len(executors) + AHEAD:
                    yield from _finish(*under_way.popleft())
            while under_way:
                yield from _finish(*under_way.popleft())
        finally:  # also when the caller stops early: do not read what nobody will take
            readers.shutdown(wait=False, cancel_futures=True)
            computers.shutdown(wait=False, cancel_futures=True)


def _finish(rows: range, computed: Future[list[Output | LesionError]]) -> Iterator[tuple[int, Output | LesionError]]:
    yield from zip(rows, computed.result(), strict=True)


def _compute(executor: Executor[Output], batch: Sequence[Any]) -> list[Output | LesionError]:
    try:
        return list(executor(batch))
    except LesionError as error:
        if len(batch) == 1:
            return [error]
    return [output for picture in batch for output in _compute(executor, [picture])]  # one is to blame: each alone


def _result(future: Future[Any]) -> Any:
    try:
        return future.result()
    except LesionError as error:
        return error
