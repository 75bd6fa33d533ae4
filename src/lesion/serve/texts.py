"""Texts: JSON and base64 that clients wrote, read strictly: what can be understood in two ways is refused."""

from __future__ import annotations

import binascii
import json
from typing import Any

from lesion.errors import UserError


def json_value(text: bytes | str, name: str) -> object:
    """What a JSON text holds. `name` is what an error calls it.

    Raises UserError of kind `bad_request` for what is no JSON in UTF-8, for a name that stands twice in an object, and
    for half a surrogate pair, which no answer or log could hold. NaN is let through, since Python's own `json` writes
    it for a gap in a table, and so are numbers without end: whoever reads the field says what it makes of them.
    """
    try:
        decoded = text if isinstance(text, str) else text.decode("utf-8-sig")  # json's own guess would take UTF-16 too
        return json.loads(decoded, object_pairs_hook=_fields)
    except (ValueError, RecursionError) as error:
        do = "Send JSON in UTF-8, each name once."
        raise bad_request(f"{name} is not JSON", do) from error


def json_object(text: bytes | str, name: str) -> dict[str, Any]:
    """The fields of a JSON object. Raises UserError of kind `bad_request` for anything else."""
    fields = json_value(text, name)
    if not isinstance(fields, dict):
        raise bad_request(f"{name} is not a JSON object", "Send a JSON object.")
    return fields


def base64_bytes(text: object, name: str) -> bytes:
    """The bytes that base64 stands for, with or without a data: URL's beginning.

    Line breaks, as the `base64` command makes them, are fine. Raises UserError of kind `bad_request`.
    """
    if not isinstance(text, str):
        raise bad_request(f"{name} is missing or not text", "Send the picture's file in base64.")
    encoded = text.rpartition("base64,")[2]
    try:  # binascii takes the text as it is; base64.b64decode would copy it first
        return binascii.a2b_base64("".join(encoded.split()), strict_mode=True)
    except ValueError as error:
        raise bad_request(f"{name} is not base64", "Encode the picture's file in base64.") from error


def bad_request(what: str, do: str) -> UserError:
    """An error that is answered with 400."""
    return UserError(what, do=do, kind="bad_request")


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a name stands twice")
    for text in (*fields, *fields.values()):
        if isinstance(text, str) and not text.isascii():  # isascii is free, also of a picture in base64
            text.encode()  # half a surrogate pair is a UnicodeEncodeError, which is a ValueError
    return fields
