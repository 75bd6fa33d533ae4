"""Records: what a request asks, picture by picture, whatever form it came in."""

# H, W pixels

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from lesion.data import images
from lesion.data.images import Pixels
from lesion.data.memory import ReserveBytes
from lesion.data.metadata import Row
from lesion.errors import UserError
from lesion.serve.fields import Fields

Form = Literal["payload", "instances", "picture", "form", "lines", "csv", "array", "arrays"]


@dataclass(frozen=True)
class Record:
    """One picture asked about: its file's bytes, or uint8 pixels [H, W, 1 or 3]; and the metadata that came with it."""

    picture: bytes | Pixels
    row: Row
    name: str  # what an error calls it
    # What came and is not used, as `fields` says it; what a picture's own header brings is added by `metadata`.
    unused: list[str] = field(default_factory=list, compare=False)
    fields: Fields = field(default=Fields(()), compare=False)

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
        header = images.header(self.picture, name=self.name)
        self.unused.extend(self.fields.unknown_words({name: header[name] for name in header if name not in self.row}))
        return {**header, **self.row}


@dataclass(frozen=True)
class Question:
    """What one request asks. An error stands where one record of many cannot be read.

    The records of a long body are read as they are asked for, once: together they would take its size again. What of
    each was not used is known once it was read and its metadata taken.
    """

    records: Iterable[Record | UserError]
    form: Form
    unused: list[Sequence[str]] = field(default_factory=list)  # of each record that was read, in their order

    @property
    def is_many(self) -> bool:
        """Whether a bad record is answered in its place, and the others as if it were not there."""
        return self.form in {"instances", "lines", "csv", "arrays"}

    def unused_of(self, number: int) -> Sequence[str]:
        """What came with a record, counted from 0, and was not used."""
        return self.unused[number] if number < len(self.unused) else ()

    def all_unused(self) -> list[str]:
        """What came with any record and was not used, each once."""
        return list(dict.fromkeys(name for names in self.unused for name in names))
