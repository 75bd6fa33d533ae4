"""Spread: the passes of one picture over the cores that are idle, each pass on one core.

A pass is some of the networks over one view. It knows nothing of the others, so its bits are the same wherever it is
computed.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Pass = Callable[[int], T]  # computes on the core of this number, which nobody else uses meanwhile
NUM_ALONE = 3  # calls in a row that found all cores idle, after which one may take them all


class _Call(Generic[T]):
    """The passes of one caller, and what they gave. Changed under the lock of its `Spread`."""

    def __init__(self, passes: Sequence[Pass[T]]) -> None:
        self.passes, self.num_begun, self.num_ended = passes, 0, 0
        self.results: list[T | None] = [None] * len(passes)
        self.error: BaseException | None = None


class Spread:
    """At most one pass a core, of all callers together.

    Each caller waits for one core and computes its own passes there, in its own thread. Cores that nobody else waits
    for help it. So a lone caller has all cores, and under load each has one.
    """

    def __init__(self, num_cores: int) -> None:
        self.num_cores = num_cores
        self._idle = list(range(num_cores))
        self._num_waiting = self._num_alone = 0
        self._open: deque[_Call[Any]] = deque()  # with passes that nobody has begun
        self._changed = threading.Condition()
        self._helpers = ThreadPoolExecutor(num_cores, thread_name_prefix="pass")

    def run(self, passes: Sequence[Pass[T]]) -> list[T]:
        """What the passes give, in their order. Raises the first error that one of them raised, once all have ended."""
        call = _Call(passes)
        core = self._wait_for_core()
        if len(passes) > 1:
            with self._changed:
                self._open.append(call)
                self._call_helpers()
        self._compute(core, call)
        with self._changed:
            self._changed.wait_for(lambda: call.num_ended == call.num_begun)
        if call.error is not None:
            try:
                raise call.error
            finally:
                del call  # or the error, whose traceback leads here, would keep itself and the picture in memory
        return call.results  # type: ignore[return-value]

    def run_on_all_cores(self, passes: Sequence[Pass[T]]) -> list[T] | None:
        """What passes give that use all cores each, one after another. None where the cores are not idle, or were not
        for the last calls: under load they do better apart.
        """
        with self._changed:
            is_idle = len(self._idle) == self.num_cores
            self._num_alone = self._num_alone + 1 if is_idle else 0
            if self._num_alone <= NUM_ALONE:
                return None
            taken, self._idle = self._idle, []
        try:
            return [compute(0) for compute in passes]
        finally:
            self._give_back(*taken)

    def _wait_for_core(self) -> int:
        with self._changed:
            self._num_waiting += 1
            try:
                self._changed.wait_for(lambda: self._idle)
                return self._idle.pop()
            finally:
                self._num_waiting -= 1

    def _give_back(self, *cores: int) -> None:
        with self._changed:
            self._idle += cores
            self._changed.notify_all()
            self._call_helpers()

    def _call_helpers(self) -> None:
        """One for each idle core, while there are passes that nobody has begun. Under the lock."""
        if not self._num_waiting:
            num_left = sum(len(call.passes) - call.num_begun for call in self._open)
            for _ in range(min(num_left, len(self._idle))):
                self._helpers.submit(self._compute, self._idle.pop())

    def _compute(self, core: int, own: _Call[Any] | None = None) -> None:
        """Computes passes on this core: the caller its own; a helper anybody's, until a caller waits for a core."""
        while (begun := self._begin(own)) is not None:
            call, number = begun
            try:
                call.results[number] = call.passes[number](core)
            except BaseException as error:  # any: it is the caller's, in whose thread it is raised
                call.error = call.error or error
            with self._changed:
                call.num_ended += 1
                self._changed.notify_all()
            del call, begun
        self._give_back(core)

    def _begin(self, own: _Call[Any] | None) -> tuple[_Call[Any], int] | None:
        """The next pass, of one's own call or of the one that came first; None if there is none."""
        with self._changed:
            if own is None and (self._num_waiting or not self._open):
                return None
            call = own or self._open[0]
            number = call.num_begun
            if number == len(call.passes):
                return None
            call.num_begun += 1
            if call.num_begun == len(call.passes) > 1:
                self._open.remove(call)
            return call, number
