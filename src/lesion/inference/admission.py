"""Admission: limits the number of requests in progress and their memory. Requests beyond the limits are refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lesion.data.decode.images import too_large
from lesion.data.decode.memory import MemoryBudget
from lesion.environment import give_back_free_memory
from lesion.inference.batcher import busy

LARGE_BYTES = 2**22  # what a request took, from which on the heap is tidied up behind it


class Slot:
    """One admitted request, and the memory that its body and what is read from it have taken."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.num_bytes = self.body_bytes = 0

    def reserve_body(self, num_bytes: int) -> None:
        """Reserves so many more bytes of its body until the request is answered.

        Raises PlatformError of kind `busy` if there is no room now, UserError of kind `too_large` if there never is.
        """
        self._admission.reserve_bytes(self, num_bytes, body_bytes=num_bytes)

    def reserve_bytes(self, num_bytes: int) -> None:
        """Reserves so many bytes for what is read from the body, as `reserve_body` does."""
        self._admission.reserve_bytes(self, num_bytes, body_bytes=0)


class Admission:
    """Places for requests, and room for their bodies as they arrive: a length that is only claimed takes none.

    Bodies of several requests together have room for `max_bytes`, and with what is read from them for half of the
    memory: the rest is for the pictures that they become, which wait for it. A request alone has room for all of it.
    """

    def __init__(self, memory: MemoryBudget, *, max_requests: int, max_bytes: int) -> None:
        self._memory, self._max_requests, self._max_bytes = memory, max_requests, max_bytes
        self._num_requests = self._num_bytes = self._body_bytes = 0
        self._changing = threading.Lock()

    @contextmanager
    def slot(self) -> Iterator[Slot]:
        """Admits one request. Raises PlatformError of kind `busy` where there is none."""
        with self._changing:
            if self._num_requests >= self._max_requests:
                raise busy()
            self._num_requests += 1
        slot = Slot(self)
        try:
            yield slot
        finally:
            with self._changing:
                self._num_requests -= 1
                self._num_bytes -= slot.num_bytes
                self._body_bytes -= slot.body_bytes
            self._memory.give_back(slot.num_bytes)
            if slot.num_bytes > LARGE_BYTES:
                give_back_free_memory()

    def reserve_bytes(self, slot: Slot, num_bytes: int, *, body_bytes: int) -> None:
        """As `Slot.reserve_bytes`; `body_bytes` of them are of the body."""
        if slot.num_bytes + num_bytes > self._memory.limit_bytes:
            raise too_large(slot.num_bytes + num_bytes, self._memory.limit_bytes)
        with self._changing:
            is_alone = self._num_bytes == slot.num_bytes
            is_within = (
                self._body_bytes + body_bytes <= self._max_bytes
                and self._num_bytes + num_bytes <= self._memory.limit_bytes // 2
            )
            if not is_alone and not is_within:
                raise busy()
            if not self._memory.take(num_bytes):
                raise busy()
            self._num_bytes += num_bytes
            self._body_bytes += body_bytes
            slot.num_bytes += num_bytes
            slot.body_bytes += body_bytes
