"""Pipeline: items to outputs: decoded by as many threads as there are cores, computed by the executors side by side.

For a server's many callers: what is computed together depends on what has come. The rows of a set, whose predictions
repeat bit for bit, go by batches.py. Knows no HTTP.
"""

from __future__ import annotations

import copy
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from lesion.data.decode.images import Pixels, too_large
from lesion.data.decode.memory import MemoryBudget, ReserveBytes
from lesion.environment import give_back_free_memory
from lesion.errors import LesionError, UserError
from lesion.inference.batcher import CLIENT_GONE, Batcher, Computed, Executor, Output, busy

LARGE_BYTES = 2**27  # what a picture took, from which on the heap is tidied up behind it: some milliseconds
LOOKS = 8  # of the watch, in the time from which on a picture hangs
WINDOW = 16  # items of one caller that are under way at once: bounds what a long request holds in memory


@dataclass
class Times:
    """Where a caller's time went, in seconds, summed over its pictures; and the largest batch that held one."""

    num_pictures: int = 0
    decode_s: float = 0.0
    queue_s: float = 0.0
    model_s: float = 0.0
    batch_size: int = 0

    def add(self, decode_s: float, computed: Computed[Any]) -> None:
        self.num_pictures += 1
        self.decode_s += decode_s
        self.queue_s += computed.queue_s
        self.model_s += computed.model_s
        self.batch_size = max(self.batch_size, computed.batch_size)


class Item(Protocol):
    """A picture that can be had."""

    def pixels(self, *, max_pixels: int, reserve_bytes: ReserveBytes) -> Pixels:
        """uint8 RGB [H, W, 3]. Raises UserError if it is not a picture or has too many pixels, and what `reserve_bytes`
        raises, which reserves memory before decoding.
        """
        ...


AnyItem = TypeVar("AnyItem", bound=Item)


class _Waiting(NamedTuple):
    """An item that was handed to the decoders, and when."""

    decoded: Future[tuple[float, Future[Computed[Any]]]]
    since: float


class Pipeline(Generic[Output]):
    """Computes items in their order, those of many callers side by side.

    `memory` is the budget for decoding, shared with others: a picture waits for room, at most `limit_s`. `hung_s` is
    how much longer the caller waits for one that is being decoded or computed. At most `window` items of one caller are
    in progress. `on_death` is called if a thread ends unexpectedly, or works on one picture for longer than
    `hung_s`: a decoder in C cannot be stopped, so only the end of the process helps.
    """

    def __init__(
        self,
        executors: Sequence[Executor[Output]],
        *,
        max_batch: int,
        memory: MemoryBudget,
        num_cores: int,
        max_pixels: int,
        max_wait_s: float,
        limit_s: float,
        hung_s: float,
        window: int = WINDOW,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        self._memory, self._max_pixels, self._limit_s, self._hung_s = memory, max_pixels, limit_s, hung_s
        self._window = window
        self._batcher: Batcher[Output] = Batcher(
            executors, max_batch=max_batch, max_wait_s=max_wait_s, limit_s=limit_s, on_death=on_death
        )
        # Not the threads that hold requests: those are many, and each picture keeps a core busy.
        self._decoders = ThreadPoolExecutor(num_cores, thread_name_prefix="decode")
        self._working_since: dict[int, float] = {}  # by decoder thread
        self._is_stopped = threading.Event()
        threading.Thread(target=self._watch, args=(on_death,), name="watch", daemon=True).start()

    def run(
        self,
        items: Iterable[AnyItem | UserError],
        prepare: Callable[[Pixels, AnyItem], Any],
        *,
        times: Times | None = None,
        is_wanted: Callable[[], bool] = lambda: True,
        held_bytes: Callable[[], int] = lambda: 0,
    ) -> Iterator[Output | LesionError]:
        """Each item's output or its own error, in the order of the items.

        `prepare` makes of an item's pixels, and of what else comes with it, what an executor takes; it raises UserError
        for what is wrong. Decoding and `prepare` run in the decoders' threads. `times` sums the time of each stage.
        `held_bytes` is the memory that the caller itself has reserved, until it has all outputs.

        Raises errors of the whole call: PlatformError of kind `busy`, UserError of kind `client_gone`
        when `is_wanted` is false, and our bugs. The errors come without the threads' tracebacks, which would keep the
        pictures in memory.
        """
        times = Times() if times is None else times
        under_way: deque[_Waiting | UserError] = deque()

        def begin(item: AnyItem, since: float) -> tuple[float, Future[Computed[Output]]]:
            started = time.monotonic()
            if started - since > self._limit_s:
                raise busy()
            with self._batcher.arriving():
                with self._at_work(), self._room(since + self._limit_s, held_bytes) as reserve_bytes:
                    pixels = item.pixels(max_pixels=self._max_pixels, reserve_bytes=reserve_bytes)
                    picture = prepare(pixels, item)
                    del pixels
                decode_s = time.monotonic() - started
                return decode_s, self._batcher.compute(picture, is_wanted=is_wanted)

        def finish() -> Output | LesionError:
            first = under_way.popleft()
            if isinstance(first, UserError):
                return first
            try:
                decode_s, result = self._decoded(first)
                computed = _result(result, timeout_s=self._limit_s + self._hung_s)
            except LesionError as error:
                if error.kind in {CLIENT_GONE, "busy"}:  # then the rest of its pictures are useless or too late
                    raise
                return copy.copy(error)  # without its traceback
            times.add(decode_s, computed)
            return computed.output

        try:
            for item in items:
                if isinstance(item, UserError):
                    under_way.append(item)
                else:
                    since = time.monotonic()
                    under_way.append(_Waiting(self._decoders.submit(begin, item, since), since))
                if len(under_way) == self._window:
                    yield finish()
            while under_way:
                yield finish()
        finally:
            for left in under_way:  # of a request that failed
                if isinstance(left, _Waiting):
                    left.decoded.cancel()

    def is_well(self, *, hung_s: float) -> bool:
        """Whether pictures are still being decoded and computed, none of them for longer than `hung_s`."""
        now = time.monotonic()
        is_prompt = all(now - since < hung_s for since in list(self._working_since.values()))
        are_alive = all(thread.is_alive() for thread in list(self._decoders._threads))
        return is_prompt and are_alive and self._batcher.is_well(hung_s=hung_s)

    def stop(self) -> None:
        """Ends the threads."""
        self._is_stopped.set()
        self._decoders.shutdown(cancel_futures=True)
        self._batcher.stop()

    def _watch(self, on_death: Callable[[], None]) -> None:
        """Until the pipeline is stopped, or is not well."""
        while not self._is_stopped.wait(self._hung_s / LOOKS):
            if not self.is_well(hung_s=self._hung_s):
                on_death()
                return

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """While a decoder thread has a picture."""
        number = threading.get_ident()
        self._working_since[number] = time.monotonic()
        try:
            yield
        finally:
            self._working_since.pop(number, None)

    @contextmanager
    def _room(self, ends: float, held_bytes: Callable[[], int]) -> Iterator[ReserveBytes]:
        """What waits for memory until `ends`, and gives all of it back."""
        num_taken = 0

        def reserve_bytes(num_bytes: int) -> None:
            nonlocal num_taken
            limit_bytes = self._memory.limit_bytes - held_bytes()
            if num_taken + num_bytes > limit_bytes:
                raise too_large(num_taken + num_bytes, limit_bytes)
            self._working_since.pop(threading.get_ident(), None)  # it waits
            if not self._memory.take(num_bytes, wait_s=max(ends - time.monotonic(), 0)):
                raise busy()
            self._working_since[threading.get_ident()] = time.monotonic()
            num_taken += num_bytes

        try:
            yield reserve_bytes
        finally:
            if num_taken > LARGE_BYTES:
                give_back_free_memory()
            self._memory.give_back(num_taken)

    def _decoded(self, waiting: _Waiting) -> tuple[float, Future[Computed[Output]]]:
        """What the decoders made of an item. Raises `busy` where none of them came to it in time, or came to an end
        with it.
        """
        left_s = max(waiting.since + self._limit_s - time.monotonic(), 0)
        with suppress(TimeoutError):
            waiting.decoded.exception(left_s)
        if waiting.decoded.cancel():
            raise busy()
        return _result(waiting.decoded, timeout_s=self._hung_s)


T = TypeVar("T")


def _result(future: Future[T], *, timeout_s: float) -> T:
    """As the future's own, with an error in a copy: the error itself leads to the future, and the future to it, so that
    both, and the pictures that the frames of its traceback hold, would stay until the next garbage collection.
    """
    try:
        error = future.exception(timeout_s)
    except TimeoutError:
        raise busy() from None
    if error is None:
        return future.result()
    if isinstance(error, LesionError):
        raise copy.copy(error)
    try:
        raise error
    finally:
        del error, future
