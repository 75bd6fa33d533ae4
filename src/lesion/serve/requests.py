"""Requests: the bytes of an invocation to the pictures it asks about. Knows content types, no HTTP server."""

# N batch · H, W pixels

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from tokenize import TokenError
from typing import Any, Literal

import numpy as np
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import HTTPException
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from lesion.data import dicom, images
from lesion.data.images import Pixels
from lesion.data.metadata import Row
from lesion.errors import UserError

# What the brief's clients call the columns of the SIIM-ISIC challenge.
ALIASES = {"age": "age_approx", "anatomy": "anatom_site_general_challenge"}
MAX_FORM_FIELDS = 1000
MAX_FORM_BYTES = 2**20  # of the fields that are not the picture
# NumPy's header is Python's notation of a dictionary, and a broken one fails in as many ways.
HEADER_ERRORS = (ValueError, TypeError, SyntaxError, EOFError, OverflowError, MemoryError, RecursionError, TokenError)

Form = Literal["payload", "instances", "picture", "form", "lines", "csv", "array"]


@dataclass(frozen=True)
class Record:
    """One picture asked about: its file's bytes, or uint8 pixels [H, W, 1 or 3]; and the metadata that came with it."""

    picture: bytes | Pixels
    row: Row
    name: str  # what an error calls it

    def pixels(self, *, max_pixels: int) -> Pixels:
        """uint8 RGB [H, W, 3]. Raises UserError of kind `unreadable_image`."""
        if isinstance(self.picture, bytes):
            return images.decode(self.picture, name=self.name, max_pixels=max_pixels)
        if self.picture.shape[0] * self.picture.shape[1] > max_pixels:
            what = f"an array of {self.picture.shape[0]}×{self.picture.shape[1]} has more than {max_pixels:,} pixels"
            raise UserError(what, where=self.name, do="Send a smaller one.", kind="unreadable_image")
        return np.repeat(self.picture, 3, axis=2) if self.picture.shape[2] == 1 else self.picture

    def metadata(self) -> Row:
        """What the picture's own header says, and over it what came with it."""
        return {**images.header(self.picture), **self.row} if isinstance(self.picture, bytes) else self.row


@dataclass(frozen=True)
class Question:
    """What one request asks. An error stands where one record of many cannot be read."""

    records: Sequence[Record | UserError]
    form: Form

    @property
    def is_many(self) -> bool:
        """Whether a bad record is answered in its place, and the others as if it were not there."""
        return len(self.records) > 1 or self.form in {"instances", "lines", "csv"}


def decode(body: bytes, content_type: str, *, metadata_columns: Sequence[str]) -> Question:
    """The pictures and metadata of a request.

    `content_type` may carry parameters, in any case; a missing one is guessed from the bytes. A CSV without a header
    has the picture first and then `metadata_columns`. Raises UserError of kind `content_type` (415), `bad_request` or
    `unreadable_image` (400).
    """
    kind, parameters = parse_options_header(content_type)
    kind = kind.strip().lower()
    if not kind:
        kind = "application/json" if body.lstrip()[:1] == b"{" else "application/octet-stream"
    if kind == "multipart/form-data":
        return Question([_form(body, kind, parameters)], "form")
    if kind == "text/csv":
        return Question(_csv(body, metadata_columns), "csv")
    decoder = DECODERS.get("image/*" if kind.startswith("image/") and kind != "image/" else kind)
    if decoder is None:
        what = f"Content-Type '{kind[:80]}' is not read here"
        raise UserError(what, do=f"Send one of {', '.join(CONTENT_TYPES)}.", kind="content_type")
    return decoder(body)


def _picture(body: bytes) -> Question:
    return Question([Record(body, {}, "request body")], "picture")


def _json(body: bytes) -> Question:
    """The brief's payload, one picture; or `instances`, many."""
    fields = _json_object(body, "body")
    instances = fields.get("instances")
    if instances is None:
        return Question([_instance(fields, "")], "payload")
    if not isinstance(instances, list) or not instances:
        raise _bad_request("field 'instances' is not a list of pictures", 'Send {"instances": [{"image": …}, …]}.')
    return Question(_each(instances, lambda value, number: _instance(value, f"instance {number}: ")), "instances")


def _lines(body: bytes) -> Question:
    """An instance on each line."""

    def read(line: bytes, number: int) -> Record:
        return _instance(_json_value(line, f"line {number}"), f"line {number}: ")

    return Question(_each(_split_lines(body), read), "lines")


def _csv(body: bytes, metadata_columns: Sequence[str]) -> list[Record | UserError]:
    """A row on each line; the names of a header, which is one that holds `image`, are the columns'."""
    csv.field_size_limit(2**31 - 1)  # csv's own default, 128 KiB, is less than a picture
    lines = _split_lines(body)
    names = ["image", *metadata_columns]
    first = _cells(lines[0], 1, strict=False)
    if "image" in (header := [cell.strip() for cell in first]):
        names, lines = header, lines[1:]
        if not lines:
            raise _bad_request("the CSV has a header and no rows", "Send a row for each picture.")

    def read(line: bytes, number: int) -> Record:
        cells = _cells(line, number)
        if len(cells) > len(names):
            raise _bad_request(f"line {number} has {len(cells)} columns", f"Send at most {len(names)}, or a header.")
        row = dict(zip(names, cells, strict=False))
        content = _base64(row.pop("image", ""), f"line {number}: column 'image'")
        return Record(content, row_of(row), f"line {number}")

    return _each(lines, read)


def _cells(line: bytes, number: int, *, strict: bool = True) -> list[str]:
    try:
        return next(csv.reader([line.decode("utf-8-sig")], strict=strict), [])
    except (csv.Error, UnicodeDecodeError) as error:
        if not strict:
            return []
        raise _bad_request(f"line {number} is not a row of CSV", "Send UTF-8, with a quote at both ends.") from error


def _form(body: bytes, kind: str, parameters: Mapping[str, str]) -> Record:
    """A picture as the file `image`, or the only one; metadata as fields, or as JSON in `json_data` or `metadata`."""
    parser = FormDataParser(
        stream_factory=lambda *_, **__: io.BytesIO(),  # werkzeug's own writes large files to disk
        max_form_memory_size=MAX_FORM_BYTES,
        max_form_parts=MAX_FORM_FIELDS,
        silent=False,
    )
    try:
        _, fields, files = parser.parse(io.BytesIO(body), kind, len(body), dict(parameters))
    except (ValueError, HTTPException) as error:
        raise _bad_request("the form cannot be read", "Send multipart/form-data whole, with its boundary.") from error
    sent: list[FileStorage] = files.getlist("image") or list(files.values())
    if len(sent) != 1:
        raise _bad_request(f"the form holds {len(sent)} pictures", "Send one, as the file 'image'.")
    row: dict[str, Any] = {}
    for name, value in fields.items():
        row |= _json_object(value or "{}", f"field '{name}'") if name in {"json_data", "metadata"} else {name: value}
    return Record(sent[0].read(), row_of(row), "file 'image'")


def _array(body: bytes) -> Question:
    """A NumPy file of uint8 [H, W], [H, W, 1 or 3] or [N, H, W, 1 or 3]. Nothing in it is run."""
    file = io.BytesIO(body)
    try:
        major, _ = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        shape, is_fortran, kind = read(file)
        flat = np.frombuffer(body, np.uint8, offset=file.tell())
        if kind != np.uint8:
            raise ValueError
        array = flat.reshape(shape, order="F" if is_fortran else "C")
    except HEADER_ERRORS as error:
        raise _bad_request("not a NumPy array of uint8 with all its bytes", "Send numpy.save's file.") from error
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or array.shape[3] not in {1, 3} or not array.size:
        raise _bad_request("an array of this shape holds no pictures", "Send [H, W, 3] or [N, H, W, 3].")
    return Question([Record(picture, {}, f"picture {number}") for number, picture in enumerate(array)], "array")


DECODERS: dict[str, Callable[[bytes], Question]] = {
    "application/json": _json,
    "image/*": _picture,
    "application/x-image": _picture,
    "application/octet-stream": _picture,
    dicom.CONTENT_TYPE: _picture,
    "application/jsonlines": _lines,
    "application/x-jsonlines": _lines,
    "application/x-npy": _array,
}
CONTENT_TYPES = (*DECODERS, "text/csv", "multipart/form-data")


def row_of(fields: Mapping[str, Any]) -> Row:
    """Metadata by column name: short names turned into the columns' own.

    Raises UserError for a value that is no scalar.
    """
    for name, value in fields.items():
        if not isinstance(value, str | int | float | bool | None):
            raise _bad_request(f"metadata field '{name[:80]}' is not text or a number", "Send one value a field.")
    return {**{ALIASES[name]: value for name, value in fields.items() if name in ALIASES}, **fields}


def _instance(value: object, place: str) -> Record:
    """{"image": base64, "json_data" or "metadata": …}, or base64 alone."""
    fields = {"image": value} if isinstance(value, str) else value
    if not isinstance(fields, dict):
        raise _bad_request(f"{place}neither a JSON object nor base64", 'Send {"image": base64, "metadata": {…}}.')
    metadata = fields.get("json_data", fields.get("metadata", {}))
    if isinstance(metadata, str):
        metadata = _json_object(metadata or "{}", f"{place}json_data")
    if not isinstance(metadata, dict):
        raise _bad_request(f"{place}field 'json_data' is not a JSON object", 'Send {"sex": …, "age_approx": …}.')
    encoded = fields.get("image")
    if isinstance(encoded, dict):
        encoded = encoded.get("b64")
    name = f"{place}field 'image'"
    return Record(_base64(encoded, name), row_of(metadata), name)


def _base64(encoded: object, name: str) -> bytes:
    if not isinstance(encoded, str):
        raise _bad_request(f"{name} is missing or not text", "Send the picture's file in base64.")
    text = encoded.rpartition("base64,")[2]  # of a data: URL
    try:  # line breaks, as the `base64` command makes them, are fine
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad_request(f"{name} is not base64", "Encode the picture's file in base64.") from error


def _split_lines(body: bytes) -> list[bytes]:
    """The lines of a body, whose last may lack its end. A blank one among them stands for a record, a bad one."""
    lines = body.split(b"\n")
    if not lines[-1].strip():
        lines.pop()
    if not any(line.strip() for line in lines):
        raise _bad_request("the body is empty", "Send a record on each line.")
    return lines


def _each(values: Iterable[Any], read: Callable[[Any, int], Record]) -> list[Record | UserError]:
    records: list[Record | UserError] = []
    for number, value in enumerate(values, start=1):
        try:
            records.append(read(value, number))
        except UserError as error:
            records.append(error)
    return records


def _json_value(text: bytes | str, name: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad_request(f"{name} is not JSON", "Send a JSON object.") from error


def _json_object(text: bytes | str, name: str) -> dict[str, Any]:
    fields = _json_value(text, name)
    if not isinstance(fields, dict):
        raise _bad_request(f"{name} is not a JSON object", "Send a JSON object.")
    return fields


def _bad_request(what: str, do: str) -> UserError:
    return UserError(what, do=do, kind="bad_request")
