"""Batcher: pictures of many requests to the lanes that compute them, with a queue between that knows its limits."""

# N batch · F folds · K outputs

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.base import Lane, Prepared
from lesion.errors import PlatformError, UserError

log = logging.getLogger(__name__)

CLIENT_GONE = "client_gone"
NEWEST = 0.1  # how much of the estimate of a picture's time the newest batch makes up


@dataclass(frozen=True)
class Computed:
    """One picture's answer, and where its time went."""

    probs_FK: NDArray[np.float64]
    queue_s: float
    model_s: float
    batch_size: int


@dataclass(frozen=True)
class _Asked:
    picture: Prepared
    is_wanted: Callable[[], bool]
    answer: Future[Computed] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


class Batcher:
    """One thread a lane. Each takes what has come, up to `max_batch`, as soon as its lane is free.

    It waits for more only while pictures are known to be on their way (`arriving`), and at most `max_wait_s`: an idle
    server never waits. A picture that could not be answered within `limit_s` is refused at once, and one that nobody
    waits for any more is not computed.

    Nothing that a picture, a lane or a client does ends a thread. One that ends all the same calls `on_death`.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        *,
        max_batch: int,
        max_wait_s: float,
        limit_s: float,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        self._max_batch, self._max_wait_s, self._limit_s = max_batch, max_wait_s, limit_s
        self._queue: deque[_Asked] = deque()
        self._changed = threading.Condition()
        self._num_arriving = 0
        self._is_stopped = False
        self._seconds_a_picture = 0.0
        self._busy_since: list[float | None] = [None] * len(lanes)
        self._threads = [
            threading.Thread(target=self._live, args=(number, lane, on_death), name=f"lane-{number}", daemon=True)
            for number, lane in enumerate(lanes)
        ]
        for thread in self._threads:
            thread.start()

    @contextmanager
    def arriving(self) -> Iterator[None]:
        """While a picture is made ready: a lane may wait for it."""
        with self._changed:
            self._num_arriving += 1
        try:
            yield
        finally:
            with self._changed:
                self._num_arriving -= 1
                self._changed.notify_all()

    def submit(self, picture: Prepared, *, is_wanted: Callable[[], bool] = lambda: True) -> Future[Computed]:
        """Joins the queue. Raises PlatformError of kind `busy` if its turn would come too late."""
        asked = _Asked(picture, is_wanted)
        with self._changed:
            if len(self._queue) * self._seconds_a_picture / len(self._threads) > self._limit_s:
                raise busy()
            self._queue.append(asked)
            self._changed.notify_all()
        return asked.answer

    def is_well(self, *, hung_s: float) -> bool:
        """Whether every lane lives, and none has been computing for longer than `hung_s`."""
        now = time.monotonic()
        is_prompt = all(since is None or now - since < hung_s for since in self._busy_since)
        return is_prompt and all(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Ends the threads, once what they compute is done; what is still queued is refused."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        while self._queue:
            _fail(self._queue.popleft(), busy())

    def _live(self, number: int, lane: Lane, on_death: Callable[[], None]) -> None:
        """A lane's thread, from its start to its end."""
        try:
            while batch := self._take():
                try:
                    self._serve(number, lane, batch)
                except Exception as error:  # whatever it is, the lane goes on, and nobody waits in vain
                    log.error("lane=%d could not answer a batch", number, exc_info=error)
                    for asked in batch:
                        _fail(asked, error)
                finally:
                    self._busy_since[number] = None
        finally:
            if not self._is_stopped:
                on_death()

    def _serve(self, number: int, lane: Lane, batch: Sequence[_Asked]) -> None:
        now = time.monotonic()
        due = []
        for asked in batch:
            if now - asked.since > self._limit_s:
                _fail(asked, busy())
            elif not asked.is_wanted():
                _fail(asked, UserError("the client has gone", do="Wait for the answer.", kind=CLIENT_GONE))
            elif asked.answer.set_running_or_notify_cancel():
                due.append(asked)
        if due:
            self._busy_since[number] = now
            self._compute(lane, due)

    def _take(self) -> list[_Asked]:
        """The next batch; nothing when the batcher is stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._is_stopped)
            self._changed.wait_for(
                lambda: len(self._queue) >= self._max_batch or not self._num_arriving or self._is_stopped,
                timeout=self._max_wait_s,
            )
            if self._is_stopped:
                return []
            return [self._queue.popleft() for _ in range(min(self._max_batch, len(self._queue)))] or self._take()

    def _compute(self, lane: Lane, batch: Sequence[_Asked]) -> None:
        started = time.monotonic()
        try:
            probs_NFK = lane([asked.picture for asked in batch])
        except Exception as error:
            if len(batch) > 1:  # one of them is to blame, and fails alone
                for asked in batch:
                    self._compute(lane, [asked])
            else:
                _fail(batch[0], error)
            return
        model_s = time.monotonic() - started
        self._seconds_a_picture += NEWEST * (model_s / len(batch) - self._seconds_a_picture)
        for asked, probs_FK in zip(batch, probs_NFK, strict=True):
            asked.answer.set_result(Computed(probs_FK, started - asked.since, model_s, len(batch)))


def _fail(asked: _Asked, error: Exception) -> None:
    """Ends the wait for this picture with an error, if anybody still waits."""
    with suppress(InvalidStateError):  # cancelled, or answered already
        asked.answer.set_exception(error)


def busy() -> PlatformError:
    return PlatformError("the server has more to do than it can answer in time", do="Ask again later.", kind="busy")
