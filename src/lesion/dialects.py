"""Dialects: how SageMaker's SDKs, its tuner and its console write a hyperparameter's value, read as what it means.

A text comes in with the type that is declared for it, a Python object goes out. Knows no hyperparameter by name.
"""

from __future__ import annotations

import ast
import json
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

# For which declared types a value of JSON is taken as what it says; for all others it stays text.
TAKEN_FOR: dict[type, set[type]] = {bool: {bool}, int: {int, float}, float: {int, float}, list: {tuple}, dict: {dict}}
NONE_WORDS = {"none", "null"}  # in any case: the README's, Python's and JSON's


def decode_value(value: object, declared: Any) -> object:
    """`value` as the Python object that it represents, within the `declared` type.

    A text stays text where the declaration takes only text, so "0123" and "1e3" survive; otherwise JSON (also JSON in
    JSON) is tried, then Python's True, False, None and lists, then the text itself. pydantic validates the result.
    """
    text = (value if isinstance(value, str) else json.dumps(value)).strip()  # files written by hand hold numbers too
    if text.startswith('"'):  # json.dumps of a text, and for some SDK classes of a number's text
        inner = _json_or_none(text)
        if isinstance(inner, str):
            return decode_value(inner, declared)
    allowed = set(_plain_types(declared))
    if text.lower() in NONE_WORDS:
        if type(None) in allowed:
            return None
        if "none" in _choices(declared):  # where none is one of the words that can be chosen
            return "none"
    literal = _literal(text)
    if literal is None or not TAKEN_FOR.get(type(literal), set()) & allowed:
        literal = text
    if isinstance(literal, str) and tuple in allowed:  # bare "sex, age_approx" for a list
        return tuple(part.strip() for part in literal.split(",") if part.strip())
    return tuple(literal) if isinstance(literal, list) and tuple in allowed else literal


def _json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # also an integer of more digits than Python reads
        return None


def _literal(text: str) -> Any:
    """What `text` says in JSON, or as one of Python's True, False or lists; None where it is neither."""
    if (value := _json_or_none(text)) is not None:
        return value
    if text in {"True", "False"} or text.startswith(("[", "(", "{")):
        try:
            return json.loads(json.dumps(ast.literal_eval(text)))  # through JSON: no sets, bytes or complex numbers
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return None
    return None


def _plain_types(declared: Any) -> Iterator[type]:
    """The plain types inside an annotation: `int | None` gives int and NoneType, `tuple[str, ...]` gives tuple."""
    for part in _parts(declared):
        if get_origin(part) is Literal:
            yield from {type(choice) for choice in get_args(part)}
        else:
            yield get_origin(part) or part


def _choices(declared: Any) -> set[object]:
    """The words that an annotation's Literals list."""
    return {choice for part in _parts(declared) if get_origin(part) is Literal for choice in get_args(part)}


def _parts(declared: Any) -> Iterator[Any]:
    """The members of a union, without what Annotated adds to them."""
    if get_origin(declared) in {Union, types.UnionType}:
        for part in get_args(declared):
            yield from _parts(part)
    elif hasattr(declared, "__metadata__"):  # Annotated[…]
        yield from _parts(get_args(declared)[0])
    else:
        yield declared
