"""Pipeline: a request's pictures to answers: decoded by as many threads as there are cores, computed by the lanes."""

# F folds · K outputs

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from lesion.algorithms.base import Predictor
from lesion.errors import LesionError, UserError
from lesion.serve.batcher import CLIENT_GONE, Batcher, Computed
from lesion.serve.requests import Record

WINDOW = 16  # pictures of one request that are under way at once: bounds what a long request holds in memory


@dataclass
class Times:
    """Where a request's time went, in seconds, summed over its pictures; and the largest batch that held one."""

    num_pictures: int = 0
    decode_s: float = 0.0
    queue_s: float = 0.0
    model_s: float = 0.0
    batch_size: int = 0

    def add(self, decode_s: float, computed: Computed) -> None:
        self.num_pictures += 1
        self.decode_s += decode_s
        self.queue_s += computed.queue_s
        self.model_s += computed.model_s
        self.batch_size = max(self.batch_size, computed.batch_size)


class Pipeline:
    """Answers records in their order."""

    def __init__(
        self, predictor: Predictor, *, num_cores: int, max_pixels: int, max_wait_s: float, limit_s: float
    ) -> None:
        self.predictor = predictor
        self._max_pixels = max_pixels
        self._batcher = Batcher(predictor.lanes, max_batch=predictor.max_batch, max_wait_s=max_wait_s, limit_s=limit_s)
        # Not the threads that hold requests: those are many, and pictures as large as allowed would fill the memory.
        self._decoders = ThreadPoolExecutor(num_cores, thread_name_prefix="decode")

    def answer(
        self,
        records: Iterable[Record | UserError],
        times: Times,
        *,
        num_views: int | None,
        is_wanted: Callable[[], bool],
    ) -> Iterator[Computed | UserError]:
        """Each record's answer, or the error that is its own. Raises PlatformError of kind `busy`."""
        under_way: deque[Future[tuple[float, Future[Computed]]] | UserError] = deque()

        def begin(record: Record) -> tuple[float, Future[Computed]]:
            started = time.monotonic()
            with self._batcher.arriving():
                picture = self.predictor.prepare(
                    record.pixels(max_pixels=self._max_pixels), record.metadata(), num_views=num_views
                )
                decode_s = time.monotonic() - started
                return decode_s, self._batcher.submit(picture, is_wanted=is_wanted)

        def finish() -> Computed | UserError:
            first = under_way.popleft()
            if isinstance(first, UserError):
                return first
            try:
                decode_s, answer = first.result()
                computed = answer.result()
            except UserError as error:
                if error.kind == CLIENT_GONE:  # so are the rest of its pictures for nobody
                    raise
                return error
            times.add(decode_s, computed)
            return computed

        try:
            for record in records:
                under_way.append(record if isinstance(record, UserError) else self._decoders.submit(begin, record))
                if len(under_way) == WINDOW:
                    yield finish()
            while under_way:
                yield finish()
        finally:
            for left in under_way:  # of a request that failed
                if not isinstance(left, LesionError):
                    left.cancel()

    def is_well(self, *, hung_s: float) -> bool:
        """Whether pictures are still being computed."""
        return self._batcher.is_well(hung_s=hung_s)

    def stop(self) -> None:
        """Ends the threads."""
        self._decoders.shutdown(cancel_futures=True)
        self._batcher.stop()
