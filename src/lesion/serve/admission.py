"""Admission: how many requests are under way, and how many bytes of their bodies. What would be more is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lesion.serve.batcher import busy

Take = Callable[[int], None]


class Admission:
    """Places for requests, and room for their bodies as they arrive: a length that is only claimed takes none."""

    def __init__(self, *, max_requests: int, max_bytes: int) -> None:
        self._max_requests, self._max_bytes = max_requests, max_bytes
        self._num_requests = self._num_bytes = 0
        self._changing = threading.Lock()

    @contextmanager
    def place(self) -> Iterator[Take]:
        """A place for one request, with what books so many more bytes of its body, until it has been answered.

        Both raise PlatformError of kind `busy` where there is no room. A body alone always has room: how long one may
        be is another limit.
        """
        own_bytes = 0

        def take(num_bytes: int) -> None:
            nonlocal own_bytes
            with self._changing:
                is_alone = self._num_bytes == own_bytes
                if not is_alone and self._num_bytes + num_bytes > self._max_bytes:
                    raise busy()
                self._num_bytes += num_bytes
                own_bytes += num_bytes

        with self._changing:
            if self._num_requests >= self._max_requests:
                raise busy()
            self._num_requests += 1
        try:
            yield take
        finally:
            with self._changing:
                self._num_requests -= 1
                self._num_bytes -= own_bytes
