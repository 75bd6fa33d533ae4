"""Records: the pictures of a request, each with metadata by the model's columns, independent of the request's format.

Unused fields are reported, and the picture is predicted.
"""

# H, W pixels

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import quote

import numpy as np

from lesion.data.decode import images
from lesion.data.decode.dicom import Frame
from lesion.data.decode.images import FrameChoice, Pixels
from lesion.data.decode.memory import ReserveBytes
from lesion.data.metadata import ALIASES, Row, cell_text
from lesion.errors import UserError
from lesion.serve.texts import bad_request, quoted

Form = Literal["payload", "instances", "picture", "form", "lines", "csv", "array", "arrays"]

MAX_UNUSED = 20  # names listed per request; then the number of the others
NAME_LETTERS = 40
LINE_LETTERS = 1000
MAX_FRAMES = 1000  # of a DICOM file of which each is predicted

Words = Mapping[str, Container[str]]  # those that mean one that training had, by column


@dataclass(frozen=True)
class Fields:
    """What the model knows: its columns, and the words of those that hold words."""

    columns: Sequence[str]
    words: Words = field(default_factory=dict)

    def column(self, name: str) -> str | None:
        """The column that a field's name means, in any case; None for a name that the model does not know."""
        return name if name in self.columns else _columns_by_key(tuple(self.columns)).get(_key(name))

    def read(self, sent: Mapping[str, Any], place: str) -> tuple[Row, list[str]]:
        """Metadata by column, unknown fields by their own names; and the names of unused fields.

        Raises UserError of kind `bad_request` for two names of one column, and for a value that is no text or number.
        """
        row: dict[str, object] = {}
        names: dict[str, str] = {}
        unused = []
        for name, value in sent.items():
            if not isinstance(value, str | int | float | bool | None):
                what = f"{place}metadata field {quoted(name)} is not text or a number"
                raise bad_request(what, "Send one value a field.")
            column = self.column(name)
            if column is None:
                row[name] = value
                if cell_text(value) is not None:
                    unused.append(_unused(name, "field"))
            elif column in row:
                what = f"{place}fields {quoted(names[column])} and {quoted(name)} both mean '{column}'"
                raise bad_request(what, "Send one of them.")
            else:
                row[column], names[column] = value, name
        return row, unused + self.unknown_words(row)

    def unknown_words(self, row: Row) -> list[str]:
        """The columns of `row` with a category that is not in the training set: the network ignores them."""
        return [
            _unused(column, "word")
            for column, value in row.items()
            if column in self.words and (text := cell_text(value)) is not None and text not in self.words[column]
        ]


@dataclass(frozen=True)
class Record:
    """One picture to predict: its file's bytes, or uint8 pixels [H, W, 1 or 3]; and its metadata."""

    picture: bytes | Pixels
    row: Row
    name: str  # what an error calls it
    # What came and is not used, as `fields` says it; what a picture's own header brings is added by `metadata`.
    unused: list[str] = field(default_factory=list, compare=False)
    fields: Fields = field(default=Fields(()), compare=False)
    frame: Frame = "first"  # of a DICOM file
    decode_px: int | None = None  # of a JPEG's shorter side, as `images.decode` takes it
    is_first: bool = True  # of the file's frames that are predicted

    def pixels(self, *, max_pixels: int, reserve_bytes: ReserveBytes = lambda _: None) -> Pixels:
        """uint8 RGB [H, W, 3]. Raises UserError of kind `unreadable_image`, and what `reserve_bytes` raises."""
        if isinstance(self.picture, bytes):
            return images.decode(
                self.picture,
                name=self.name,
                frame=self.frame,
                decode_px=self.decode_px,
                max_pixels=max_pixels,
                reserve_bytes=reserve_bytes,
            )
        if self.picture.shape[0] * self.picture.shape[1] > max_pixels:
            what = f"an array of {self.picture.shape[0]}×{self.picture.shape[1]} has more than {max_pixels:,} pixels"
            raise UserError(what, where=self.name, do="Send a smaller one.", kind="unreadable_image")
        if self.picture.shape[2] == 1:
            reserve_bytes(3 * self.picture.nbytes)
        return np.repeat(self.picture, 3, axis=2) if self.picture.shape[2] == 1 else self.picture

    def frames(self, choice: FrameChoice, *, decode_px: int | None = None) -> list[Record]:
        """The record once for each frame that `choice` names, to be decoded with `decode_px`.

        Raises UserError of kind `unreadable_image`.
        """
        if not isinstance(self.picture, bytes):
            return [self]
        frames = images.frames_of(self.picture, choice, name=self.name)
        if len(frames) > MAX_FRAMES:
            what = f"a DICOM file of {len(frames):,} frames, where up to {MAX_FRAMES:,} are answered"
            raise UserError(what, where=self.name, do="Send fewer.", kind="unreadable_image")
        return [
            replace(self, frame=frame, decode_px=decode_px, is_first=number == 0) for number, frame in enumerate(frames)
        ]

    def metadata(self) -> Row:
        """What was sent; what it leaves empty, from the picture's own header. Raises as `images.header` does."""
        if not isinstance(self.picture, bytes):
            return self.row
        header = images.header(self.picture, name=self.name)
        filled_in = {name: header[name] for name in header if cell_text(self.row.get(name)) is None}
        if self.is_first:  # the header of all frames is the same one
            self.unused.extend(self.fields.unknown_words(filled_in))
        return {**self.row, **filled_in}


@dataclass(frozen=True)
class Invocation:
    """One request: its records; an error in the place of a record that cannot be read.

    The records of a long body are parsed lazily, once: together they would need its size again. The unused fields of
    each are known after its metadata was read.
    """

    records: Iterable[Record | UserError]
    form: Form
    unused: list[Sequence[str]] = field(default_factory=list)  # of each record that was read, in their order

    def unused_of(self, number: int) -> Sequence[str]:
        """What came with a record, counted from 0, and was not used."""
        return self.unused[number] if number < len(self.unused) else ()

    def all_unused(self) -> list[str]:
        """What came with any record and was not used, each once."""
        return list(dict.fromkeys(name for names in self.unused for name in names))


def names_for(column: str, columns: Collection[str]) -> list[str]:
    """The short names that mean a column of this model too."""
    by_key = _columns_by_key(tuple(columns))
    return [alias for alias in ALIASES if by_key.get(alias) == column != alias]


def unknown_fields(names: Iterable[str]) -> list[str]:
    """The warning for names that the model does not know."""
    return [_unused(name, "field") for name in names]


def unknown_parameters(names: Iterable[str]) -> list[str]:
    """The warning for query parameters: none is known."""
    return [_unused(name, "parameter") for name in names]


def unused_line(unused: Collection[str]) -> str:
    """What was not used, each once and no more than a few, for a header or a line of the log: ASCII without spaces."""
    once = list(dict.fromkeys(unused))
    line = ",".join(once[:MAX_UNUSED])
    num_told = MAX_UNUSED if len(line) <= LINE_LETTERS else 1  # names of other scripts are long once escaped
    more = [f"{len(once) - num_told}_more"] if len(once) > num_told else []
    return ",".join(once[:num_told] + more)


def _unused(name: str, what: str) -> str:
    """The name, never the value, which may be a patient's; %-escaped, so that it can end no header and no log line."""
    return f"{quote(name[:NAME_LETTERS], safe='', errors='replace')}:unknown_{what}"


def _key(name: str) -> str:
    return name.strip().casefold()


@lru_cache(maxsize=8)
def _columns_by_key(columns: tuple[str, ...]) -> dict[str, str]:
    """The column of each name in lower case that means only one."""
    num_columns = Counter(map(_key, columns))
    short = {alias: column for alias, column in ALIASES.items() if column in columns and alias not in num_columns}
    return short | {_key(column): column for column in columns if num_columns[_key(column)] == 1}
