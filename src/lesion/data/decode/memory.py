"""Memory: a budget for decoded pictures, reserved before decoding, so that no file can use up the memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache

from lesion.environment import resident_bytes, usable_memory_bytes

MAX_PIXELS = (
    100_000_000  # of a picture: 300 MB once decoded; the largest cameras of dermoscopy and histology: 50 million
)

# Books so many more bytes, or raises UserError of kind `too_large` or PlatformError of kind `busy`.
ReserveBytes = Callable[[int], None]


class MemoryBudget:
    """So many bytes for all threads together. What a thread takes it gives back."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._num_taken = 0
        self._changed = threading.Condition()  # its lock may be taken again by a finalizer that runs within

    @property
    def num_taken(self) -> int:
        """The bytes that are taken now."""
        return self._num_taken

    def take(self, num_bytes: int, *, wait_s: float = 0.0) -> bool:
        """Whether there was so much room, or came to be within `wait_s`. Small pictures pass one that waits."""
        assert num_bytes >= 0, "an estimate below nothing would make room that is not there"
        with self._changed:
            if self._num_taken + num_bytes > self.limit_bytes and not self._changed.wait_for(
                lambda: self._num_taken + num_bytes <= self.limit_bytes, timeout=wait_s
            ):
                return False
            self._num_taken += num_bytes
            return True

    def give_back(self, num_bytes: int) -> None:
        """Ends what `take` began, in one piece or in several."""
        with self._changed:
            self._num_taken -= num_bytes
            self._changed.notify_all()


@lru_cache(maxsize=1)
def process_budget() -> MemoryBudget:
    """The memory budget that all threads of a job share for decoding: half of what was free at the first picture.

    The other half is for training or inference.
    """
    return MemoryBudget(max(usable_memory_bytes() - resident_bytes(), 0) // 2)
