"""Options: a request's options in the header X-Amzn-SageMaker-Custom-Attributes; other attributes there are ignored."""

from __future__ import annotations

import re
from contextlib import suppress
from urllib.parse import unquote

from lesion.algorithms.base import Options
from lesion.errors import UserError, collecting, raise_all
from lesion.geometry import MAX_VIEWS

OPTIONS = {"views", "top_k", "details", "operating_point", "map"}


def read_options(attributes: str) -> Options:
    """The options in `views=4, top_k=3; details=true, map=melanoma`. Other names are for others, and ignored.

    `attributes` are as WSGI hands a header on, a letter for each byte: UTF-8 is read as such, all else as Latin-1.
    Raises one UserError of kind `custom_attributes` for all values that are out of bounds and options that come twice.
    """
    found: dict[str, str] = {}
    problems: list[UserError] = []
    with suppress(UnicodeError):
        attributes = attributes.encode("latin-1").decode()
    for part in re.split("[,;]", attributes):
        name, separator, value = part.partition("=")  # operating_point=sensitivity=0.95 has a second one
        name, value = name.strip().lower(), value.strip()
        if separator and name in OPTIONS:
            if name in found:
                problems.append(_refused(name, value, f"what came before it, '{found[name][:80]}'"))
            found.setdefault(name, value)
    views = top_k = None
    with collecting(problems):
        views = _number(found, "views", MAX_VIEWS)
    with collecting(problems):
        top_k = _number(found, "top_k", 10_000)
    details = found.get("details", "false").lower()
    if details not in {"true", "false", "1", "0"}:
        problems.append(_refused("details", details, "true or false"))
    raise_all(problems)
    return Options(
        views,
        top_k,
        details=details in {"true", "1"},
        operating_point=found.get("operating_point"),
        map=_map(found.get("map", "false")),
    )


def _map(value: str) -> str | None:
    """The class whose map is wanted, written with %-escapes where it holds a comma; "" for the predicted one."""
    if value.lower() in {"true", "false"}:
        return "" if value.lower() == "true" else None
    return unquote(value)


def _number(found: dict[str, str], name: str, largest: int) -> int | None:
    if (text := found.get(name)) is None:
        return None
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= largest:
        raise _refused(name, text, f"a whole number from 1 to {largest}")
    return int(text)


def _refused(name: str, value: str, wanted: str) -> UserError:
    return UserError(
        f"custom attribute {name}='{value[:80]}' is not {wanted}",
        do="Correct it, or leave it out.",
        kind="custom_attributes",
    )
