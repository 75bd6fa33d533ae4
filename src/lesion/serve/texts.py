"""Texts: JSON and base64 that clients wrote, read strictly: what can be understood in two ways is refused."""

from __future__ import annotations

import binascii
import json
import re
from collections import Counter
from typing import Any

import numpy as np

from lesion.data.decode.formats import name_format
from lesion.data.decode.memory import ReserveBytes
from lesion.errors import UserError

MAX_VALUES = 1_000_000  # of one JSON text: 100,000 records with seven fields each
# What a value of JSON takes as an object of Python's, at most, measured: an object of short names and texts takes 283
# bytes for each comma, a list of empty lists 64.
VALUE_BYTES = 300

# What reading a text with a picture in base64 takes beside it, in its lengths, measured: 2 for the decoded text and its
# value; 3 with line breaks or the alphabet of URLs, which need copies of the value; 4 with those in a data: URL.
TEXT_COPIES = 3

PIECE_BYTES = 2**17  # of a text, looked through at once
FEW_BYTES = 2**13
STANDARD, URL_SAFE = b"+/", b"-_"
TO_STANDARD = bytes.maketrans(URL_SAFE, STANDARD)
LINE_BREAKS = b"\r\n\t"
ADDRESS = re.compile(r"(https?|s3|file|gs)://", re.IGNORECASE)
ENCODE = "Encode the image's file in base64: A-Z a-z 0-9 + /, or - and _ in place of the last two."


def reserve_nothing(num_bytes: int) -> None:
    """The default: no limit on memory."""


def json_value(text: bytes | str, name: str, reserve_bytes: ReserveBytes = reserve_nothing) -> object:
    """The value of a JSON text. `name` is its name in errors.

    Raises UserError of kind `bad_request` if it is not JSON in UTF-8, has a name twice in an object, or half a
    surrogate pair, which no answer or log could hold; of kind `too_large`, before parsing, for more than MAX_VALUES
    values. NaN is accepted, since Python's `json` writes it for missing cells, and so is infinity: the reader of the
    field decides.
    """
    _reserve_values(text, name, reserve_bytes)
    try:
        decoded = text if isinstance(text, str) else text.decode("utf-8-sig")  # json's own guess would take UTF-16 too
        return json.loads(decoded, object_pairs_hook=_fields)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"{name} is not JSON: {_why(error)}", "Send JSON in UTF-8, each name once.") from error


def json_object(text: bytes | str, name: str, reserve_bytes: ReserveBytes = reserve_nothing) -> dict[str, Any]:
    """The fields of a JSON object. Raises UserError as `json_value` does, and for anything but an object."""
    fields = json_value(text, name, reserve_bytes)
    if isinstance(fields, str):
        raise bad_request(f"{name} is a JSON text, not an object", 'Send {"image": base64, "json_data": {…}}.')
    if isinstance(fields, list):
        raise bad_request(f"{name} is a JSON list, not an object", 'Send {"instances": [{"image": base64}, …]}.')
    if not isinstance(fields, dict):
        raise bad_request(f"{name} is not a JSON object", 'Send {"image": base64, "json_data": {…}}.')
    return fields


def base64_bytes(text: object, name: str) -> bytes:
    """The bytes of a base64 text, with or without the prefix of a data: URL.

    Accepts RFC 4648's alphabet or the one for URLs, not both in one text, line breaks as the `base64` command makes
    them, and missing padding. Raises UserError of kind `bad_request`.
    """
    if not isinstance(text, str):
        raise bad_request(f"{name} is not text", "Send the image's file in base64.")
    encoded = _without_head(text, name)
    try:  # what nearly all send, at once
        content = _whole(encoded)
    except ValueError:
        content = _forgiving(encoded, name)
    if not content:
        raise bad_request(f"{name} is empty", "Send the image's file in base64.")
    return content


def room_for_text(text: bytes) -> int:
    """The extra memory that a UTF-8 text takes when decoded: one character of four bytes makes Python store all
    characters in four bytes, in the text and again in its parts."""
    if text.isascii():
        return 0
    highest = int(np.frombuffer(text, np.uint8).max())
    width = 4 if highest >= 0xF0 else 2 if highest > 0xC3 else 1
    return 2 * (width - 1) * len(text)


def bad_request(what: str, do: str) -> UserError:
    """The UserError for status 400."""
    return UserError(what, do=do, kind="bad_request")


def too_large(what: str, do: str) -> UserError:
    """The UserError for status 413."""
    return UserError(what, do=do, kind="too_large")


def quoted(name: object) -> str:
    """A name that a client sent, for a message: short, in quotes, and on one line."""
    return "'" + "".join(char if char.isprintable() else "?" for char in str(name)[:80]) + "'"


def _reserve_values(text: bytes | str, name: str, reserve_bytes: ReserveBytes) -> None:
    """Reserves the memory of a JSON text and of its values before parsing.

    Every value but the first follows a comma or is the first in a list or object, so these characters are counted.
    Strings may hold them too; base64 does not.
    """
    num_values = 1 + (_num_marks(text) if isinstance(text, bytes) else sum(map(text.count, (",", "[", "{"))))
    if num_values > MAX_VALUES:
        raise too_large(f"{name} holds more than {MAX_VALUES:,} values", "Send fewer records in one request.")
    num_bytes = TEXT_COPIES * len(text) + (room_for_text(text) if isinstance(text, bytes) else 0)
    reserve_bytes(num_values * VALUE_BYTES + num_bytes)


def _num_marks(text: bytes) -> int:
    """How many commas and opening brackets and braces there are. By NumPy, in pieces that fit a core's cache: 3 ms for
    10 MB, of which bytes.count would take 18; of a line with metadata alone that is the quicker."""
    if len(text) < FEW_BYTES:
        return sum(map(text.count, (b",", b"[", b"{")))
    num_marks = 0
    for start in range(0, len(text), PIECE_BYTES):
        piece = np.frombuffer(text, np.uint8, min(PIECE_BYTES, len(text) - start), start)
        is_opening = (piece | 0x20) == ord("{")  # [ and { differ in that bit alone
        num_marks += int(np.count_nonzero(piece == ord(","))) + int(np.count_nonzero(is_opening))
    return num_marks


def _why(error: ValueError | RecursionError) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeEncodeError):
        return "a text holds half of a surrogate pair, which is no character"
    if isinstance(error, UnicodeDecodeError):
        is_text = name_format(error.object) == "JSON"
        return "it is not UTF-8" + ("" if is_text else ": send an image file under its own type, such as image/png")
    if isinstance(error, json.JSONDecodeError):
        more = ", as in JSON Lines, which is application/jsonlines" if error.msg == "Extra data" else ""
        return f"{error.msg.lower()}{more} (line {error.lineno}, column {error.colno})"
    if "integer string conversion" in str(error):
        return "a whole number has more than 4,300 digits"
    return str(error)


def _without_head(text: str, name: str) -> str:
    """base64 alone of data:image/png;base64,…, in any case."""
    head, comma, _ = text[:256].partition(",")
    if not comma:
        return text
    if not head.rstrip().lower().endswith("base64"):
        raise bad_request(f"{name} is not base64: it holds a comma, and no ';base64' before it", ENCODE)
    return text[len(head) + 1 :]


def _forgiving(encoded: str, name: str) -> bytes:
    if ADDRESS.match(encoded.lstrip()[:8]):
        raise bad_request(f"{name} is an address, and images are not downloaded", "Send the image's file in base64.")
    try:
        plain = encoded.strip(" ").encode("ascii")
    except UnicodeEncodeError as error:
        raise bad_request(f"{name} is not base64: it holds {quoted(encoded[error.start])}", ENCODE) from None
    has_standard, has_url_safe = (any(char in plain for char in alphabet) for alphabet in (STANDARD, URL_SAFE))
    if has_standard and has_url_safe:
        raise bad_request(f"{name} is not base64: it mixes two alphabets, + or / and - or _", ENCODE)
    if b" " in plain:
        raise bad_request(f"{name} is not base64: it holds a space, which may have been a '+'", ENCODE)
    if stranger := re.search(rb"[^A-Za-z0-9+/=_\r\n\t-]", plain):
        raise bad_request(f"{name} is not base64: it holds {quoted(stranger[0].decode())}", ENCODE)
    plain = plain.translate(TO_STANDARD, LINE_BREAKS)
    if not plain.endswith(b"="):
        plain += b"=" * (-len(plain) % 4)
    try:
        return _whole(plain)
    except ValueError:
        what = f"{name} is not base64: its length or its '=' show that something is missing or too much"
        raise bad_request(what, ENCODE) from None


def _whole(encoded: str | bytes) -> bytes:
    """Raises ValueError for anything but whole groups of four; binascii itself lets a '=' too much pass."""
    if len(encoded) % 4:
        raise ValueError("not whole groups")
    return binascii.a2b_base64(encoded, strict_mode=True)


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        [(doubled, _)] = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the name {quoted(doubled)} occurs twice")
    for text in (*fields, *fields.values()):
        if isinstance(text, str) and not text.isascii():  # isascii is free, also of a picture in base64
            text.encode()  # half a surrogate pair is a UnicodeEncodeError, which is a ValueError
    return fields
