"""Logs: which of a job's processes logs a line. Lines that several would log alike are logged by the first only.

A record's scope says what it is about: the "job" (the default), logged by the first process of each host; a "fold",
logged by the first process of its data-parallel group; or the "process", logged by each.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Scope = Literal["job", "fold", "process"]


def scoped_logger(name: str, scope: Scope) -> logging.LoggerAdapter[logging.Logger]:
    """The logger of that name, whose records have this scope."""
    return logging.LoggerAdapter(logging.getLogger(name), {"scope": scope})


@contextmanager
def timed_step(log: logging.Logger, step: str) -> Iterator[None]:
    """Logs how many seconds what is inside took, unless it fails: `step=… seconds=…`."""
    started = time.monotonic()
    yield
    log.info("step=%s seconds=%.1f", step, time.monotonic() - started)


def leave_to_first(scope: Scope, *, below: int) -> None:
    """From now on this process, which is not the first, logs nothing of that scope below the level `below`."""
    for handler in logging.getLogger("lesion").handlers:
        handler.addFilter(_LeftToFirst(scope, below))


class _LeftToFirst(logging.Filter):
    def __init__(self, scope: Scope, below: int) -> None:
        super().__init__()
        self._scope, self._below = scope, below

    def filter(self, record: logging.LogRecord) -> bool:
        return getattr(record, "scope", "job") != self._scope or record.levelno >= self._below
