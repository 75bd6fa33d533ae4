"""Argument types: a call is refused for values of other types than its signature names, all of them at once; and for
an empty text as a path.

A number that stands alone is left to `numbers`, which says its bounds with it. Knows no verb. pydantic could tell the
types too, but its words for a value of several possible types are not for users.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache, wraps
from inspect import signature
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from lesion.errors import UserError, raise_all
from lesion.words import shortened

P = ParamSpec("P")
R = TypeVar("R")

hints_of = cache(get_type_hints)  # once a verb: `predict` is called for each picture

NUMBERS: dict[Any, Any] = {int: Integral, float: Real}  # NumPy's are none of Python's types
WORDS: dict[Any, str] = {
    **{str: "text", bytes: "bytes", Path: "a path", bool: "True or False", int: "a whole number", float: "a number"},
    **{NoneType: "None", Mapping: "a mapping", Sequence: "a list", list: "a list", tuple: "a tuple"},
}


def typed(verb: Callable[P, R]) -> Callable[P, R]:
    """The verb, which raises one UserError for all arguments of other types than its signature says."""

    @wraps(verb)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        _refuse(signature(verb).bind(*args, **kwargs).arguments, hints_of(verb))
        return verb(*args, **kwargs)

    return checked


def check_fields(value: Any) -> None:
    """Raises one UserError for all fields of a dataclass that are of other types than it declares."""
    _refuse({field.name: getattr(value, field.name) for field in fields(value)}, get_type_hints(type(value)))


def _refuse(given: Mapping[str, object], hints: Mapping[str, Any]) -> None:
    checked = {name: value for name, value in given.items() if name in hints and not _is_number(hints[name])}
    raise_all([error for name, value in checked.items() for error in _errors(name, value, hints[name])])


def _is_number(hint: Any) -> bool:
    return set(_alternatives(hint)) - {NoneType} <= set(NUMBERS)


def _errors(name: str, value: object, hint: Any) -> Iterator[UserError]:
    """What is wrong with a value, and below it: the names and values of a mapping, the items of a list."""
    kinds = _alternatives(hint)
    fitting = [kind for kind in kinds if _fits(value, kind)]
    if not fitting and isinstance(value, str) and any(get_origin(kind) is Sequence for kind in kinds):
        what = f"{name} is the text {shortened(repr(value), 60)}, not a list"
        yield UserError(what, do=f"Give {name}=[{shortened(repr(value), 60)}].", kind="environment")
    elif not fitting:
        told = " or ".join(dict.fromkeys(_words(kind) for kind in kinds))
        what = f"{name}={shortened(repr(value), 60)} is not {told}"
        yield UserError(what, do="Correct it.", kind="environment")
    elif value == "" and Path in kinds:  # to Path the current folder
        yield UserError(f"{name} is an empty text", do="Give an address or a path.", kind="location")
    elif isinstance(value, Mapping) and (inner := get_args(fitting[0])):
        for key, one in value.items():
            yield from _errors(f"a name in {name}", key, inner[0])
            yield from _errors(f"{name}[{key!r}]", one, inner[1])
    elif isinstance(value, list | tuple) and (inner := get_args(fitting[0])):
        for number, one in enumerate(value):
            yield from _errors(f"{name}[{number}]", one, inner[0])


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _fits(value: object, kind: Any) -> bool:
    origin = get_origin(kind)
    if kind in (Any, object):
        return True
    if origin is Literal:
        return isinstance(value, str)  # which words, is said where they are known
    if origin is tuple:
        return isinstance(value, tuple) and len(value) == len(get_args(kind))
    if origin is Sequence:
        return isinstance(value, Sequence) and not isinstance(value, str | bytes)
    if kind in NUMBERS:
        return isinstance(value, NUMBERS[kind])
    return isinstance(value, origin or kind)


def _words(kind: Any) -> str:
    origin = get_origin(kind)
    if origin is tuple:
        return f"a tuple of {len(get_args(kind))}"
    if origin is Literal:
        return "text"
    return WORDS.get(origin or kind) or f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"
