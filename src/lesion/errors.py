"""Errors: UserError for the user's mistakes, PlatformError for the machine's failures. Each says what, where, and what
to do. Any other exception is our own bug."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

EXIT_BUG = 1  # exit code of an error that is neither the user's nor the machine's: ours
MOST_CHARACTERS = 1000  # of several errors together: SageMaker shows 1,024, and a host's name may come before
MOST_OF_PLACE = 100  # of each of them: a path, and perhaps the first of the columns that are there


class LesionError(Exception):
    """An error worded for the person who reads it, without a traceback.

    `kind` is the stable, machine-readable name that HTTP answers and exit codes are chosen by.
    """

    exit_code = EXIT_BUG

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
    """A mistake that the person who started the job or sent the request can correct: a value, a file, a column."""

    exit_code = 2

    @property
    def each(self) -> tuple[UserError, ...]:
        """The single errors that this one consists of."""
        return (self,)


class UserErrors(UserError):
    """Several errors in one, the most important first: those that fit in MOST_CHARACTERS, and how many more."""

    def __init__(self, errors: Sequence[UserError]) -> None:
        self.errors = tuple(errors)
        super().__init__(_together(self.errors), do="", kind=errors[0].kind)

    @property
    def each(self) -> tuple[UserError, ...]:
        return self.errors

    def __reduce__(self) -> tuple[Any, ...]:
        return UserErrors, (self.errors,)

    def __str__(self) -> str:
        return self.what


@contextmanager
def collecting(problems: list[UserError]) -> Iterator[None]:
    """Inside, a UserError ends the block and joins the `problems`, unless they say the same already."""
    try:
        yield
    except UserError as error:
        said = set(map(str, problems))
        problems += [one for one in error.each if str(one) not in said]


def raise_all(problems: Sequence[UserError]) -> None:
    """Raises the problems as one UserError, if there are any."""
    if problems:
        raise problems[0] if len(problems) == 1 else UserErrors(problems)


def _together(errors: Sequence[UserError]) -> str:
    text = f"{len(errors)} things are wrong:"
    for number, error in enumerate(errors, 1):
        more = f" And {len(errors) - number} more." if number < len(errors) else ""
        place = f" ({_cut(str(error.where), MOST_OF_PLACE)})" if error.where is not None else ""
        whole = f" {number}) {error.what}{place}. {error.do}"
        room = MOST_CHARACTERS - len(text) - len(more)
        if len(whole) > room and number > 1:
            return f"{text} And {len(errors) - number + 1} more."
        text += _cut(whole, room)
    return text


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


class PlatformError(LesionError):
    """A failure of the platform: disk, memory, network, GPU, another host. The same job may succeed elsewhere."""

    exit_code = 3
