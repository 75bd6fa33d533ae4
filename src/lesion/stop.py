"""Stop: a request to stop the job, by SIGTERM or Ctrl-C; it takes effect between two steps, not within one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

STOP_SPREAD_S = 5  # a job that is stopped is stopped in all its processes, in some a moment sooner


class Stop:
    """A signal handler. Ends what runs by a KeyboardInterrupt: at once, or where `held` at the next `check`.

    Further signals change nothing, so that none interrupts what the first one made the job save: one Ctrl-C in a
    terminal comes from the terminal and from the parent.
    """

    def __init__(self) -> None:
        self._is_held = False
        self._is_requested = False

    def __call__(self, _number: int, _frame: object) -> None:
        is_first, self._is_requested = not self._is_requested, True
        if is_first and not self._is_held:
            raise KeyboardInterrupt

    @property
    def is_requested(self) -> bool:
        return self._is_requested

    def check(self) -> None:
        """Raises KeyboardInterrupt if the job is to end."""
        if self.is_requested:
            raise KeyboardInterrupt

    def check_soon(self) -> None:
        """As `check`, but waits up to STOP_SPREAD_S for the signal that may have ended another process already."""
        ends = time.monotonic() + STOP_SPREAD_S
        while time.monotonic() < ends and not self.is_requested:
            with suppress(KeyboardInterrupt):  # our own, or another thread's word
                time.sleep(0.1)
        self.check()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, a signal waits for `check`: what changes there is never seen half changed."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        self.check()
