"""Once: a folder is listed once while the sets of a job are opened, however many formats and sets ask for it.

A listing of 400,000 files takes seconds, and on a FastFile mount a request to S3 for each thousand.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
_known: ContextVar[dict[tuple[str, Path], Any] | None] = ContextVar("known", default=None)


@contextmanager
def once() -> Iterator[None]:
    """Inside, each function of a folder that is `remembered` runs once for each folder."""
    token = _known.set({})
    try:
        yield
    finally:
        _known.reset(token)


def remembered(function: Callable[[Path], T]) -> Callable[[Path], T]:
    """The function, whose value is kept inside of `once`. Its callers do not change what they get."""

    @functools.wraps(function)
    def known(folder: Path) -> T:
        values = _known.get()
        if values is None:
            return function(folder)
        key = (function.__qualname__, folder)
        if key not in values:
            values[key] = function(folder)
        value: T = values[key]
        return value

    return known
