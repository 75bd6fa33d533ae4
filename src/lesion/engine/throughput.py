"""Throughput: how long a loop waits for its input, what could be done about it, and how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch

Item = TypeVar("Item")

SLOW_SHARE = 0.2  # of the loop's time, above which waiting is worth a word
BUSY_SHARE = 0.5  # of the cores' time, above which they are what batches wait for


class InputWait:
    """How long a loop over batches took, and how long of that it waited for its next batch, in seconds.

    On a GPU the loop runs ahead of its device, and a batch that comes while the device is still at work was not waited
    for. So there it counts how long the device stood still: from a mark in its queue before the wait to one after it.
    """

    def __init__(self, device: torch.device, num_cores: int) -> None:
        self.waited_s = self.elapsed_s = 0.0
        self._is_gpu, self._num_cores = device.type == "cuda", num_cores
        self._in_next_s = self._cpu_s = 0.0  # the loop's own time in the wait, and all threads' at work in it
        self._marks: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def over(self, batches: Iterable[Item]) -> Iterator[Item]:
        """The same batches. The numbers are there once the last is done."""
        upcoming, started = iter(batches), time.monotonic()
        while True:
            before, cpu_before, mark = time.monotonic(), time.process_time(), self._mark()
            try:
                batch = next(upcoming)
            except StopIteration:
                break
            self._in_next_s += time.monotonic() - before
            self._cpu_s += time.process_time() - cpu_before
            if mark is not None and (after := self._mark()) is not None:
                self._marks.append((mark, after))
            yield batch
        if self._is_gpu:
            torch.cuda.synchronize()
        self.elapsed_s = time.monotonic() - started
        in_queue_s = sum(before.elapsed_time(after) for before, after in self._marks) / 1000  # type: ignore[no-untyped-call]
        self.waited_s = in_queue_s if self._is_gpu else self._in_next_s

    @property
    def share(self) -> float:
        """Of the loop's time, in 0 to 1; 0 where there was no batch."""
        return min(self.waited_s / self.elapsed_s, 1.0) if self._in_next_s else 0.0

    @property
    def busy_share(self) -> float:
        """The share of all cores' time that this process used while it waited, in 0 to 1."""
        return min(self._cpu_s / (self._in_next_s * self._num_cores), 1.0) if self._in_next_s else 0.0

    def _mark(self) -> torch.cuda.Event | None:
        if not self._is_gpu:
            return None
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()  # type: ignore[no-untyped-call]
        return event


def slowness(wait_share: float, busy_share: float, *, num_workers: int, num_cores: int) -> str | None:
    """Why training is input-bound and what would help on this machine, as one line; None where it hardly waits."""
    if wait_share <= SLOW_SHARE:
        return None
    if num_workers < num_cores:
        do = f"num_workers is {num_workers}, but {num_cores} cores are available: set num_workers=auto"
    elif busy_share < BUSY_SHARE:
        do = (
            f"reading them is slow, since the cores are only {busy_share:.0%} busy: use File mode instead of "
            f"FastFile, write shards (lesion prepare shards), or set num_workers={4 * num_cores}"
        )
    else:
        do = (
            f"all {num_cores} cores are busy with them: choose an instance with more cores, or smaller source "
            "images (lesion prepare shards --size)"
        )
    return f"input-bound: {wait_share:.0%} of each step is waiting for images; {do}"


def minutes_left(num_epochs: int, *, num_pictures: int, images_per_s: float) -> float:
    """The time that `num_epochs` of `num_pictures` each take at this speed."""
    return num_epochs * num_pictures / images_per_s / 60
