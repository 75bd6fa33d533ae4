"""Errors: who can mend what went wrong. Each says what, where, and what to do; anything else raised is our own bug."""

from __future__ import annotations

from functools import partial
from typing import Any


class LesionError(Exception):
    """An error worded for the person who reads it, without a traceback.

    `kind` is the stable, machine-readable name that HTTP answers and exit codes are chosen by.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: object = None, do: str, kind: str = "bad_input") -> None:
        super().__init__(what, where, do)
        self.what, self.where, self.do, self.kind = what, where, do, kind

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors come back from other processes as they were."""
        return partial(type(self), where=self.where, do=self.do, kind=self.kind), (self.what,)

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where is not None else ""
        return f"{self.what}{place}. {self.do}"


class UserError(LesionError):
    """Something that whoever started the job or sent the request can mend: a value, a file, a column."""

    exit_code = 2


class PlatformError(LesionError):
    """Something under us failed: disk, memory, network, GPU, another host. The same job may pass elsewhere."""

    exit_code = 3
