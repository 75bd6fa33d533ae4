"""Batcher: collects pictures of many callers into batches for the executors, through a bounded queue.

Pictures and outputs are opaque here: only the algorithm knows their types.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from lesion.errors import PlatformError, UserError

log = logging.getLogger(__name__)

CLIENT_GONE = "client_gone"
_computing = threading.local()  # in a thread that computes: `note_progress`, what notes that it goes on
NEWEST = 0.1  # how much of the estimate of a picture's time the newest batch makes up


Output = TypeVar("Output")
# Computes for one caller at a time: a GPU, or a share of the CPU's cores. One output for each picture, in their order.
Executor = Callable[[Sequence[Any]], Sequence[Output]]


def note_progress() -> None:
    """To be called by an executor between the passes of a long computation: one that is slow does not hang."""
    if (note := getattr(_computing, "note_progress", None)) is not None:
        note()


@dataclass(frozen=True)
class Computed(Generic[Output]):
    """What an executor made of one picture, and where its time went."""

    output: Output
    queue_s: float
    model_s: float
    batch_size: int


@dataclass(frozen=True)
class _Job(Generic[Output]):
    """A picture in the queue, and who waits for it."""

    picture: Any
    is_wanted: Callable[[], bool]
    result: Future[Computed[Output]] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


class Batcher(Generic[Output]):
    """One thread an executor. Each takes what has come, up to `max_batch`, as soon as its executor is free.

    It waits for more only while pictures are known to be on their way (`arriving`), and at most `max_wait_s`: an idle
    batcher never waits. Where batches have one picture, and an executor is idle, it is computed in the thread that has
    prepared it (`compute`). A picture that could not be computed within `limit_s` is refused at once, and one that
    nobody waits for any more is not computed.

    Nothing that a picture, an executor or a client does ends a thread. One that ends all the same calls `on_death`.
    """

    def __init__(
        self,
        executors: Sequence[Executor[Output]],
        *,
        max_batch: int,
        max_wait_s: float,
        limit_s: float,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        self._max_batch, self._max_wait_s, self._limit_s = max_batch, max_wait_s, limit_s
        self._queue: deque[_Job[Output]] = deque()
        self._changed = threading.Condition()
        self._num_arriving = 0
        self._is_stopped = False
        self._seconds_a_picture = 0.0
        self._executors, self._on_death = executors, on_death
        self._idle = set(range(len(executors)))
        self._busy_since: list[float | None] = [None] * len(executors)
        self._threads = [
            threading.Thread(target=self._live, args=(number,), name=f"executor-{number}", daemon=True)
            for number in range(len(executors))
        ]
        for thread in self._threads:
            thread.start()

    @contextmanager
    def arriving(self) -> Iterator[None]:
        """While a picture is made ready: an executor may wait for it."""
        with self._changed:
            self._num_arriving += 1
        try:
            yield
        finally:
            with self._changed:
                self._num_arriving -= 1
                self._wake()

    def compute(self, picture: Any, *, is_wanted: Callable[[], bool] = lambda: True) -> Future[Computed[Output]]:
        """Computes it in this thread if an executor is idle and takes one at a time; else it joins the queue.

        Raises PlatformError of kind `busy` if its turn would come too late.
        """
        job: _Job[Output] = _Job(picture, is_wanted)
        with self._changed:
            if self._max_batch > 1 or self._queue or not self._idle:
                self._join(job)
                return job.result
            number = self._idle.pop()
        self._serve(number, [job])
        return job.result

    def _join(self, job: _Job[Output]) -> None:
        if len(self._queue) * self._seconds_a_picture / len(self._threads) > self._limit_s:
            raise busy()
        self._queue.append(job)
        self._changed.notify_all()

    def _wake(self) -> None:
        """The threads look again, if there is anything to take. Under the lock."""
        if self._queue:
            self._changed.notify_all()

    def is_well(self, *, hung_s: float) -> bool:
        """Whether every executor's thread lives, and none has been computing for longer than `hung_s` without noting
        progress."""
        now = time.monotonic()
        is_prompt = all(since is None or now - since < hung_s for since in self._busy_since)
        return is_prompt and all(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Stops the threads after their current batch; queued pictures are refused."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        while self._queue:
            _fail(self._queue.popleft(), busy())

    def _live(self, number: int) -> None:
        """An executor's thread, from its start to its end."""
        while batch := self._take(number):
            self._serve(number, batch)

    def _serve(self, number: int, batch: Sequence[_Job[Output]]) -> None:
        """Answers each of the batch, whatever happens, and leaves the executor idle."""
        has_survived = False
        try:
            self._compute_wanted(number, batch)
            has_survived = True
        except Exception as error:  # any exception: the thread must survive, and every caller get an answer
            log.error("executor=%d could not compute a batch", number, exc_info=error)
            for job in batch:
                _fail(job, error)
            has_survived = True
        finally:
            _computing.note_progress = None
            self._busy_since[number] = None
            with self._changed:
                self._idle.add(number)
                self._wake()
            if not has_survived:
                self._on_death()

    def _compute_wanted(self, number: int, batch: Sequence[_Job[Output]]) -> None:
        now = time.monotonic()
        due = []
        for job in batch:
            if now - job.since > self._limit_s:
                _fail(job, busy())
            elif not job.is_wanted():
                _fail(job, UserError("the client closed the connection", do="Wait for the answer.", kind=CLIENT_GONE))
            elif job.result.set_running_or_notify_cancel():
                due.append(job)
        if due:
            _computing.note_progress = partial(self._note_progress, number)
            self._note_progress(number)
            self._compute(self._executors[number], due)

    def _note_progress(self, number: int) -> None:
        self._busy_since[number] = time.monotonic()

    def _take(self, number: int) -> list[_Job[Output]]:
        """The next batch, once this executor is idle, which is then taken; empty when the batcher is stopped."""
        with self._changed:
            while not self._is_stopped:
                self._changed.wait_for(lambda: (self._queue and number in self._idle) or self._is_stopped)
                self._changed.wait_for(
                    lambda: len(self._queue) >= self._max_batch or not self._num_arriving or self._is_stopped,
                    timeout=self._max_wait_s,
                )
                if self._queue and number in self._idle and not self._is_stopped:
                    self._idle.remove(number)
                    return [self._queue.popleft() for _ in range(min(self._max_batch, len(self._queue)))]
            return []

    def _compute(self, executor: Executor[Output], batch: Sequence[_Job[Output]]) -> None:
        started = time.monotonic()
        try:
            outputs = executor([job.picture for job in batch])
        except Exception as error:
            if len(batch) > 1:  # one of them is to blame, and fails alone
                for job in batch:
                    self._compute(executor, [job])
            else:
                _fail(batch[0], error)
            return
        model_s = time.monotonic() - started
        self._seconds_a_picture += NEWEST * (model_s / len(batch) - self._seconds_a_picture)
        for job, output in zip(batch, outputs, strict=True):
            job.result.set_result(Computed(output, started - job.since, model_s, len(batch)))


def _fail(job: _Job[Any], error: Exception) -> None:
    """Ends the wait for this picture with an error, if anybody still waits."""
    with suppress(InvalidStateError):  # cancelled, or computed already
        job.result.set_exception(error)


def busy() -> PlatformError:
    return PlatformError("the server is overloaded", do="Send the request again later.", kind="busy")
