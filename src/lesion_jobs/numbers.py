"""Numbers: what a number, a choice or a yes or no in a call must be, said by its name."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from numbers import Integral, Real
from typing import Any

from lesion.errors import UserError, collecting, raise_all


def check_number(name: str, value: object) -> None:
    """Raises UserError for what is no number, as text and True are not."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise UserError(f"{name}={value!r} is no number", do="Correct it.", kind="environment")


def check_choice(name: str, value: object, choices: Collection[object]) -> None:
    """Raises UserError for what is none of the choices."""
    if value not in choices:
        told = " or ".join(str(choice) for choice in choices)
        raise UserError(f"{name}={value!r} is not {told}", do="Correct it.", kind="environment")


def check_within(name: str, value: float, least: float, most: float = math.inf) -> None:
    """Raises UserError for what is no number, or one outside its bounds."""
    check_number(name, value)
    if not (least <= value <= most and math.isfinite(value)):
        bounds = f"from {least:g} on" if most == math.inf else f"from {least:g} to {most:g}"
        raise UserError(f"{name}={value:g} is not {bounds}", do="Correct it.", kind="environment")


def check_whole(name: str, value: int, least: int, most: float = math.inf) -> None:
    """Raises UserError for what is no whole number, or one outside its bounds."""
    check_within(name, value, least, most)
    if not isinstance(value, Integral):
        raise UserError(f"{name}={value} is no whole number", do="Correct it.", kind="environment")


def check_each(*checks: tuple[Callable[..., None], *tuple[Any, ...]]) -> None:
    """Makes all checks, each given with its arguments, and raises one UserError for those that refuse."""
    problems: list[UserError] = []
    for check, *arguments in checks:
        with collecting(problems):
            check(*arguments)
    raise_all(problems)
