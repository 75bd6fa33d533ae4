"""Requests: the bytes of an invocation to the pictures it asks about. Knows content types, no HTTP server."""

# N batch · H, W pixels

from __future__ import annotations

import copy
import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import HTTPException
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from lesion.data import dicom, images
from lesion.data.images import Pixels
from lesion.data.memory import ReserveBytes
from lesion.data.metadata import Row
from lesion.errors import UserError
from lesion.serve.arrays import pictures
from lesion.serve.texts import bad_request, base64_bytes, json_object, json_value

# What the brief's clients call the columns of the SIIM-ISIC challenge.
ALIASES = {"age": "age_approx", "anatomy": "anatom_site_general_challenge"}
MAX_RECORDS = 100_000  # of one request: a bad one of two bytes costs hundreds
MAX_FORM_FIELDS = 1000
MAX_FORM_BYTES = 2**20  # of the fields that are not the picture

Form = Literal["payload", "instances", "picture", "form", "lines", "csv", "array", "arrays"]


@dataclass(frozen=True)
class Record:
    """One picture asked about: its file's bytes, or uint8 pixels [H, W, 1 or 3]; and the metadata that came with it."""

    picture: bytes | Pixels
    row: Row
    name: str  # what an error calls it

    def pixels(self, *, max_pixels: int, reserve_bytes: ReserveBytes = lambda _: None) -> Pixels:
        """uint8 RGB [H, W, 3]. Raises UserError of kind `unreadable_image`, and what `reserve_bytes` raises."""
        if isinstance(self.picture, bytes):
            return images.decode(self.picture, name=self.name, max_pixels=max_pixels, reserve_bytes=reserve_bytes)
        if self.picture.shape[0] * self.picture.shape[1] > max_pixels:
            what = f"an array of {self.picture.shape[0]}×{self.picture.shape[1]} has more than {max_pixels:,} pixels"
            raise UserError(what, where=self.name, do="Send a smaller one.", kind="unreadable_image")
        if self.picture.shape[2] == 1:
            reserve_bytes(3 * self.picture.nbytes)
        return np.repeat(self.picture, 3, axis=2) if self.picture.shape[2] == 1 else self.picture

    def metadata(self) -> Row:
        """What the picture's own header says, and over it what came with it. Raises as `images.header` does."""
        if not isinstance(self.picture, bytes):
            return self.row
        return {**images.header(self.picture, name=self.name), **self.row}


@dataclass(frozen=True)
class Question:
    """What one request asks. An error stands where one record of many cannot be read.

    The records of a long body are read as they are asked for, once: together they would take its size again.
    """

    records: Iterable[Record | UserError]
    form: Form

    @property
    def is_many(self) -> bool:
        """Whether a bad record is answered in its place, and the others as if it were not there."""
        return self.form in {"instances", "lines", "csv", "arrays"}


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
    fields = json_object(body, "body")
    instances = fields.get("instances")
    if instances is None:
        return Question([_instance(fields, "")], "payload")
    if not isinstance(instances, list) or not instances:
        raise bad_request("field 'instances' is not a list of pictures", 'Send {"instances": [{"image": …}, …]}.')

    def read(value: object, number: int) -> Record:
        return _instance(value, f"instance {number}: ")

    return Question(_each(instances, len(instances), read), "instances")


def _lines(body: bytes) -> Question:
    """An instance on each line."""

    def read(line: bytes, number: int) -> Record:
        return _instance(json_value(line, f"line {number}"), f"line {number}: ")

    return Question(_each(*_split_lines(body), read), "lines")


def _csv(body: bytes, metadata_columns: Sequence[str]) -> Iterator[Record | UserError]:
    """A row on each line; the names of a header, which is one that holds `image`, are the columns'."""
    csv.field_size_limit(2**31 - 1)  # csv's own default, 128 KiB, is less than a picture
    lines, num_lines = _split_lines(body)
    names, first = ["image", *metadata_columns], 1
    top = _cells(io.BytesIO(body).readline(), 1, strict=False)
    if "image" in (header := [cell.strip() for cell in top]):
        next(lines)
        names, num_lines, first = header, num_lines - 1, 2
        if len(set(names)) < len(names):
            raise bad_request("the CSV's header names a column twice", "Name each column once.")
        if not num_lines:
            raise bad_request("the CSV has a header and no rows", "Send a row for each picture.")

    def read(line: bytes, number: int) -> Record:
        cells = _cells(line, number)
        if len(cells) > len(names):
            raise bad_request(f"line {number} has {len(cells)} columns", f"Send at most {len(names)}, or a header.")
        row = dict(zip(names, cells, strict=False))
        content = base64_bytes(row.pop("image", ""), f"line {number}: column 'image'")
        return Record(content, row_of(row), f"line {number}")

    return _each(lines, num_lines, read, first=first)


def _cells(line: bytes, number: int, *, strict: bool = True) -> list[str]:
    try:
        return next(csv.reader([line.decode("utf-8-sig")], strict=strict), [])
    except (csv.Error, UnicodeDecodeError) as error:
        if not strict:
            return []
        raise bad_request(f"line {number} is not a row of CSV", "Send UTF-8, with a quote at both ends.") from error


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
        raise bad_request("the form cannot be read", "Send multipart/form-data whole, with its boundary.") from error
    sent: list[FileStorage] = files.getlist("image") or list(files.values())
    if len(sent) != 1:
        raise bad_request(f"the form holds {len(sent)} pictures", "Send one, as the file 'image'.")
    row: dict[str, Any] = {}
    for name, value in fields.items():
        row |= json_object(value or "{}", f"field '{name}'") if name in {"json_data", "metadata"} else {name: value}
    return Record(sent[0].read(), row_of(row), "file 'image'")


def _array(body: bytes) -> Question:
    """A NumPy file of one picture or many."""
    records = [Record(picture, {}, f"picture {number}") for number, picture in enumerate(pictures(body), start=1)]
    return Question(records, "arrays" if len(records) > 1 else "array")


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
            raise bad_request(f"metadata field '{name[:80]}' is not text or a number", "Send one value a field.")
    return {**{ALIASES[name]: value for name, value in fields.items() if name in ALIASES}, **fields}


def _instance(value: object, place: str) -> Record:
    """{"image": base64, "json_data" or "metadata": …}, or base64 alone."""
    fields = {"image": value} if isinstance(value, str) else value
    if not isinstance(fields, dict):
        raise bad_request(f"{place}neither a JSON object nor base64", 'Send {"image": base64, "metadata": {…}}.')
    metadata = fields.get("json_data", fields.get("metadata", {}))
    if isinstance(metadata, str):
        metadata = json_object(metadata or "{}", f"{place}json_data")
    if not isinstance(metadata, dict):
        raise bad_request(f"{place}field 'json_data' is not a JSON object", 'Send {"sex": …, "age_approx": …}.')
    encoded = fields.get("image")
    if isinstance(encoded, dict):
        encoded = encoded.get("b64")
    name = f"{place}field 'image'"
    return Record(base64_bytes(encoded, name), row_of(metadata), name)


def _split_lines(body: bytes) -> tuple[Iterator[bytes], int]:
    """The lines of a body, whose last may lack its end, and how many there are.

    A blank one among them stands for a record, a bad one.
    """
    if not body or body.isspace():
        raise bad_request("the body is empty", "Send a record on each line.")
    lines = (line.removesuffix(b"\n") for line in io.BytesIO(body))  # which does not copy the body
    return lines, body.count(b"\n") + (not body.endswith(b"\n"))


def _each(
    values: Iterable[Any], num_values: int, read: Callable[[Any, int], Record], *, first: int = 1
) -> Iterator[Record | UserError]:
    if num_values > MAX_RECORDS:
        raise UserError(f"{num_values} records in one request", do=f"Send at most {MAX_RECORDS}.", kind="too_large")

    def records() -> Iterator[Record | UserError]:
        for number, value in enumerate(values, start=first):
            try:
                record: Record | UserError = read(value, number)
            except UserError as error:
                record = copy.copy(error)  # without the traceback, which would keep every copy of the line
            yield record

    return records()
