"""Requests: decodes the body of an invocation into records. Knows content types, no HTTP server."""

# N batch · H, W pixels

from __future__ import annotations

import codecs
import copy
import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from werkzeug.http import parse_options_header

from lesion.data.decode import dicom
from lesion.data.decode.formats import name_format
from lesion.data.decode.images import Pixels
from lesion.data.decode.memory import ReserveBytes
from lesion.data.metadata import Row
from lesion.errors import UserError
from lesion.inference.pipeline import WINDOW
from lesion.serve import forms
from lesion.serve.arrays import MAGIC, pictures
from lesion.serve.records import Fields, Form, Invocation, Record, Words, unknown_fields
from lesion.serve.texts import (
    TEXT_COPIES,
    bad_request,
    base64_bytes,
    json_object,
    json_value,
    quoted,
    reserve_nothing,
    room_for_text,
    too_large,
)

MAX_RECORDS = 100_000  # of one request: a bad one of two bytes costs hundreds
MAX_COLUMNS = 10_000  # of a line of CSV
FEWEST_LETTERS = 64  # of a picture in base64: a shorter cell beside a column's name is one of a header
CSV_COPIES = 8  # of a line in Python's csv, which keeps four bytes for a letter, and doubles its room
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
PICTURE = ("image", "image_bytes", "b64")  # what clients call it; the second is TensorFlow's name, the third its form
METADATA = ("json_data", "metadata")
# What a body looks like, to the type that it should have been sent with.
TEXT_TYPES = {"JSON": "application/json", "a form": "multipart/form-data", "a NumPy array": "application/x-npy"}


@dataclass(frozen=True)
class _Room:
    """What every decoder needs: the fields that the model knows, and the memory reservation."""

    fields: Fields
    reserve: ReserveBytes


def decode(
    body: bytes,
    content_type: str,
    *,
    metadata_columns: Sequence[str],
    words: Words | None = None,
    reserve_bytes: ReserveBytes = reserve_nothing,
    content_encoding: str = "",
) -> Invocation:
    """The pictures and metadata of a request.

    `content_type` may carry parameters, in any case; a missing one is guessed from the bytes. A CSV without a header
    has the picture first and then `metadata_columns`; `words` are those that a column's rows had in training. The
    memory that reading takes beyond the body is reserved with `reserve_bytes` before it is read. Raises UserError of
    kind `content_type` (415), `bad_request` (400) or `too_large` (413).
    """
    if content_encoding.strip().lower() not in {"", "identity"}:
        what = f"Content-Encoding {quoted(content_encoding)} is not supported"
        raise UserError(what, do="Send the body as it is.", kind="content_type")
    room = _Room(Fields(tuple(metadata_columns), words or {}), _at_most(reserve_bytes))
    kind, parameters = parse_options_header(content_type)
    kind = kind.strip().lower() or _guess(body)
    if kind == "multipart/form-data":
        return _alone(_form(forms.parts(body, parameters, room.reserve), room), "form")
    charset = parameters.get("charset", "utf-8").strip().lower()
    if kind in TEXTS and charset not in UTF_8 and not body.isascii():
        raise UserError(f"{kind} in charset {quoted(charset)} is not supported", do="Send UTF-8.", kind="content_type")
    decoder = DECODERS.get("image/*" if kind.startswith("image/") and kind != "image/" else kind)
    if decoder is None:
        what = f"Content-Type {quoted(kind)} is not supported{_looks_like(body)}"
        raise UserError(what, do=f"Send one of {', '.join(CONTENT_TYPES)}.", kind="content_type")
    return decoder(body, room)


def _guess(body: bytes) -> str:
    """The type of a body that came without one, where it plainly is one."""
    if body.startswith(MAGIC):
        return "application/x-npy"
    is_json = body[:64].removeprefix(codecs.BOM_UTF8).lstrip()[:1] in {b"{", b"["}
    return "application/json" if is_json else "application/octet-stream"


def _looks_like(body: bytes) -> str:
    proper = TEXT_TYPES.get(name_format(body) or "")
    return f", and the body looks like {proper}" if proper else ""


def _alone(record: Record, form: Form) -> Invocation:
    return Invocation([record], form, [record.unused])


def _many(records: Iterable[Record | UserError], form: Form) -> Invocation:
    """Records that are parsed lazily, and their unused fields as they become known."""
    unused: list[Sequence[str]] = []

    def noted() -> Iterator[Record | UserError]:
        for record in records:
            unused.append(record.unused if isinstance(record, Record) else ())
            yield record

    return Invocation(noted(), form, unused)


def _picture(body: bytes, room: _Room) -> Invocation:
    if not dicom.is_dicom(body) and (name := name_format(body)) in TEXT_TYPES:
        what = f"the request body looks like {name}, but its Content-Type is an image"
        raise bad_request(what, f"Send it as {TEXT_TYPES[str(name)]}.")
    return _alone(Record(body, {}, "request body", fields=room.fields), "picture")


def _json(body: bytes, room: _Room) -> Invocation:
    """The brief's payload, one picture; or `instances`, many."""
    if not body.strip():
        raise bad_request("the request body is empty", 'Send {"image": base64, "json_data": {…}}.')
    sent = json_object(body, "the request body", room.reserve)
    names = [name for name in sent if name.lower() == "instances" and sent[name] is not None]
    if not names:
        return _alone(_instance(sent, "", room), "payload")
    beside = [name for name in sent if sent[name] is not None and name != names[0]]
    if doubled := [name for name in beside if name.lower() in {*PICTURE, *METADATA} or room.fields.column(name)]:
        what = f"field {quoted(doubled[0])} is beside 'instances', not inside one of them"
        raise bad_request(what, 'Send {"instances": [{"image": base64, "metadata": {…}}, …]}.')
    instances = sent[names[0]]
    _only(dict.fromkeys(names), "fields", ("instances", None))
    if not isinstance(instances, list) or not instances:
        raise bad_request("field 'instances' is not a list of images", 'Send {"instances": [{"image": …}, …]}.')
    unused = unknown_fields(beside)

    def read(value: object, number: int) -> Record:
        record = _instance(value, f"instance {number}: ", room)
        record.unused.extend(unused)
        return record

    return _many(_each(instances, len(instances), read), "instances")


def _lines(body: bytes, room: _Room) -> Invocation:
    """An instance on each line."""

    def read(line: bytes, number: int) -> Record:
        if not line.strip():
            raise bad_request(f"line {number} is blank", "Send a record on each line.")
        beside = _beside(line, len(body))
        value = json_value(line, f"line {number}", lambda num_bytes: room.reserve(num_bytes + beside))
        return _instance(value, f"line {number}: ", room)

    return _many(_each(*_split_lines(body), read), "lines")


def _csv(body: bytes, room: _Room) -> Invocation:
    """A row on each line; the names of a header, which is one that holds `image`, are the columns'."""
    csv.field_size_limit(2**31 - 1)  # csv's own default, 128 KiB, is less than a picture
    lines, num_lines = _split_lines(body)
    names, first = ["image", *room.fields.columns], 1
    header = [cell.strip() for cell in _header(io.BytesIO(body).readline(), room)]
    if "image" in map(str.lower, header):
        next(lines)
        names, num_lines, first = header, num_lines - 1, 2
        _check_header(header, room.fields)
        if not num_lines:
            raise bad_request("the CSV has a header and no rows", "Send a row for each image.")
    elif len(header[:1]) and len(header[0]) < FEWEST_LETTERS and any(map(room.fields.column, header)):
        raise bad_request("the CSV's header names no column 'image'", "Name the column of images 'image'.")
    place = [name.lower() for name in names].index("image")

    def read(line: bytes, number: int) -> Record:
        if not line.strip():
            raise bad_request(f"line {number} is blank", "Send an image on each line.")
        cells = _cells(line, number, room, beside=_beside(line, len(body)))
        if len(cells) > len(names):
            do = f"Send at most {len(names)}, or a header that names them."
            raise bad_request(f"line {number} has {len(cells)} columns", do)
        row = {name: cell for name, cell in zip(names, cells, strict=False) if name != names[place]}
        encoded = cells[place] if place < len(cells) else ""
        content = _csv_picture(encoded, f"line {number}: column 'image'")
        metadata, unused = room.fields.read(row, f"line {number}: ")
        return Record(content, metadata, f"line {number}", unused, room.fields)

    return _many(_each(lines, num_lines, read, first=first), "csv")


def _csv_picture(encoded: str, name: str) -> bytes:
    beyond_head = encoded.partition(",")[2] if encoded[:5].lower() == "data:" else encoded
    for separator, called in SEPARATORS.items():
        if separator in beyond_head:  # a tab might be a line break of base64, and other columns pass for more of it
            raise bad_request(f"{name} holds columns that {called} separate", "Separate them by commas.")
    return base64_bytes(encoded, name)


def _header(line: bytes, room: _Room) -> list[str]:
    """The first line's cells; empty if it is not a CSV row, which is reported as for any other line."""
    if line.count(b",") > MAX_COLUMNS:
        raise too_large(f"the CSV's first line has more than {MAX_COLUMNS:,} columns", "Send fewer.")
    try:
        return _cells(line, 1, room, beside=len(line))
    except UserError:
        return []


def _check_header(header: Sequence[str], fields: Fields) -> None:
    """Raises UserError of kind `bad_request` where two names mean one column."""
    meant: dict[str, str] = {}
    for name in header:
        column = "image" if name.lower() == "image" else fields.column(name) or name
        if column in meant:
            named = " and ".join(map(quoted, dict.fromkeys((meant[column], name))))
            raise bad_request(f"the CSV's header names a column twice: {named}", "Name each column once.")
        meant[column] = name


def _cells(line: bytes, number: int, room: _Room, *, beside: int) -> list[str]:
    if line.count(b",") > MAX_COLUMNS:  # before a cell is made
        raise too_large(f"line {number} has more than {MAX_COLUMNS:,} columns", "Send fewer.")
    is_plain = b'"' not in line and not line.count(b"\r", 0, -1)
    of_csv = 0 if is_plain else CSV_COPIES * len(line)
    room.reserve(TEXT_COPIES * len(line) + room_for_text(line) + of_csv + beside)
    try:
        text = line.decode("utf-8-sig")
        if is_plain:
            return text.removesuffix("\r").split(",") if text else []
        return next(csv.reader([text], strict=True), [])
    except (csv.Error, UnicodeDecodeError) as error:
        raise bad_request(f"line {number} is not a row of CSV", "Send UTF-8, with a quote at both ends.") from error


def _form(parts: Sequence[forms.Part], room: _Room) -> Record:
    """A picture as the part `image`, or the only file; metadata as fields, or as JSON in `json_data` or `metadata`."""
    named = [part for part in parts if part.name.lower() == "image"]
    files = [part for part in parts if part.is_file and part.name.lower() not in {"image", *METADATA}]
    sent = named or files
    if len(sent) != 1:
        listed = ", ".join(quoted(part.name) for part in sent[:5]) or "no file"
        raise bad_request(f"the form holds {len(sent)} images: {listed}", "Send one, as the file 'image'.")
    if named and files:
        what = f"the form's file {quoted(files[0].name)} is neither 'image' nor metadata"
        raise bad_request(what, "Send metadata as fields, or as JSON in 'metadata'.")
    texts = [part for part in parts if part is not sent[0]]
    if sum(len(part.content) for part in texts) > forms.MAX_TEXT_BYTES:
        raise bad_request(f"the form's fields hold more than {forms.MAX_TEXT_BYTES:,} bytes", "Send fewer.")
    fields: dict[str, Any] = {}
    documents: dict[str, Any] = {}
    for part in texts:
        into = documents if part.name.lower() in METADATA else fields
        if part.name in into:
            raise bad_request(f"the form holds field {quoted(part.name)} twice", "Send each field once.")
        into[part.name] = part.text()
    metadata, unused = _metadata(documents, fields, "", room)
    return Record(sent[0].content, metadata, "file 'image'", unused, room.fields)


def _array(body: bytes, room: _Room) -> Invocation:
    """A NumPy file of one picture or many."""
    pictures_NHWC = pictures(body)

    def read(picture_HWC: Pixels, number: int) -> Record:
        return Record(picture_HWC, {}, f"picture {number}", fields=room.fields)

    records = _each(pictures_NHWC, len(pictures_NHWC), read)
    return _many(records, "arrays" if len(pictures_NHWC) > 1 else "array")


DECODERS: dict[str, Callable[[bytes, _Room], Invocation]] = {
    "application/json": _json,
    "image/*": _picture,
    "application/x-image": _picture,
    "application/octet-stream": _picture,
    dicom.CONTENT_TYPE: _picture,
    "application/jsonlines": _lines,
    "application/x-jsonlines": _lines,
    "application/x-npy": _array,
    "text/csv": _csv,
}
TEXTS = {"application/json", "application/jsonlines", "application/x-jsonlines", "text/csv"}
UTF_8 = {"utf-8", "utf8", "us-ascii", "ascii"}
CONTENT_TYPES = (*DECODERS, "multipart/form-data")


def _instance(value: object, place: str, room: _Room) -> Record:
    """{"image": base64, "json_data" or "metadata": …} with metadata beside the picture or in it, or base64 alone."""
    sent = {"image": value} if isinstance(value, str) else value
    if not isinstance(sent, dict):
        raise bad_request(f"{place}neither a JSON object nor base64", 'Send {"image": base64, "metadata": {…}}.')
    given = {name: value for name, value in sent.items() if value is not None}  # null says that it is not there
    encoded = {name: given.pop(name) for name in list(given) if name.lower() in PICTURE}
    documents = {name: given.pop(name) for name in list(given) if name.lower() in METADATA}
    name, value = _only(encoded, f"{place}fields", ("image", None))
    if value is None:
        others = ", ".join(map(quoted, list(given)[:5])) or "nothing else"
        raise bad_request(f"{place}field 'image' is missing; there is {others}", 'Send {"image": base64}.')
    known = {name: value for name, value in given.items() if room.fields.column(name)}
    metadata, unused = _metadata(documents, known, place, room)
    unused += unknown_fields([name for name in given if name not in known])
    if isinstance(value, dict):  # as TensorFlow Serving writes bytes
        unused += unknown_fields([name for name in value if name != "b64"])
        value = value.get("b64")
    name = f"{place}field {quoted(name)}"
    return Record(base64_bytes(value, name), metadata, name, unused, room.fields)


def _metadata(
    documents: Mapping[str, Any], beside: Mapping[str, Any], place: str, room: _Room
) -> tuple[Row, list[str]]:
    """The metadata of one picture: of an object, or a JSON text of one, and of what stands beside it."""
    name, document = _only(documents, f"{place}fields", ("json_data", None))
    if isinstance(document, str):
        document = json_value(document, f"{place}field {quoted(name)}", room.reserve) if document.strip() else None
    if document is None:
        document = {}
    if not isinstance(document, dict):
        what = f"{place}field {quoted(name)} is not a JSON object"
        raise bad_request(what, 'Send {"sex": …, "age_approx": …}.')
    if doubled := sorted(document.keys() & beside.keys()):
        raise bad_request(
            f"{place}field {quoted(doubled[0])} is sent twice", f"Send it in {quoted(name)} or beside it."
        )
    return room.fields.read({**document, **beside}, place)


def _only(found: Mapping[str, Any], what: str, otherwise: tuple[str, Any]) -> tuple[str, Any]:
    """The one of several names that may be sent. Raises UserError of kind `bad_request` for two of them."""
    if len(found) > 1:
        first, second = map(quoted, list(found)[:2])
        raise bad_request(f"{what} {first} and {second} mean the same", "Send one of them.")
    return next(iter(found.items()), otherwise)


def _split_lines(body: bytes) -> tuple[Iterator[bytes], int]:
    """The lines of a body, whose last may lack its end, and how many there are.

    A blank line counts as a bad record, since clients match answers to lines by number.
    """
    if not body or body.isspace():
        raise bad_request("the request body is empty", "Send a record on each line.")
    return _lines_of(body), body.count(b"\n") + (not body.endswith(b"\n"))


def _beside(line: bytes, body_bytes: int) -> int:
    """What a line takes beside what is read of it: its own copy, and the pictures of those before it that are under
    way, which are shorter than their base64."""
    return len(line) + min(WINDOW * len(line), body_bytes)


def _lines_of(body: bytes) -> Iterator[bytes]:
    for line in io.BytesIO(body):  # which does not copy the body
        line = line.removesuffix(b"\n")  # noqa: PLW2901  the name frees the longer one
        yield line


def _each(
    values: Iterable[Any], num_values: int, read: Callable[[Any, int], Record], *, first: int = 1
) -> Iterator[Record | UserError]:
    if num_values > MAX_RECORDS:
        raise too_large(f"{num_values} records in one request", f"Send at most {MAX_RECORDS}.")

    def records() -> Iterator[Record | UserError]:
        for number, value in enumerate(values, start=first):
            try:
                record: Record | UserError = read(value, number)
            except UserError as error:
                record = copy.copy(error)  # without the traceback, which would keep every copy of the line
            yield record

    return records()


def _at_most(reserve_bytes: ReserveBytes) -> ReserveBytes:
    """Books what the largest of several texts takes: they are taken apart one after the other."""
    booked = 0

    def reserve(num_bytes: int) -> None:
        nonlocal booked
        if num_bytes > booked:
            reserve_bytes(num_bytes - booked)
            booked = num_bytes

    return reserve
