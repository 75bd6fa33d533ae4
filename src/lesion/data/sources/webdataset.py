"""WebDataset: tar shards whose members KEY.jpg, KEY.json and KEY.cls are one sample.

Pictures are read in place, in any order: nothing is extracted, and a shard may be larger than memory.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from lesion.data import images
from lesion.data.reading import (
    CONTROL,
    COPY_AGAIN,
    MAX_PICTURE_BYTES,
    MIB,
    check_regular,
    parse_json,
    reading,
)
from lesion.data.sources.location import SplitLocation, walk_files
from lesion.data.sources.rows import frame_of, table_of
from lesion.data.table import Columns, SampleTable
from lesion.errors import UserError

COLUMNS = {"json": "a JSON object", "cls": "a word in UTF-8"}  # members that say something of their sample
MAX_COLUMNS_BYTES = MIB
MAX_HEADER_BYTES = MIB  # of names and attributes that do not fit into 512 bytes
DIGITS = re.compile(rb"\d{200}")  # tarfile looks for numbers in a time that grows with the square of their digits


@dataclass(frozen=True)
class Member:
    """A file inside a shard: which shard, offset and size."""

    shard: Path
    offset: int
    size: int

    def content(self, *, max_bytes: int, kind: str = "bad_input") -> bytes:
        """Opened for each reading: safe in any thread and process, and measured at 20 µs. Raises UserError."""
        if self.size > max_bytes:
            what = f"a member of {self.size:,} bytes, more than {max_bytes:,}"
            raise UserError(what, where=self.shard, do="Leave it out.", kind=kind)
        with reading(self.shard, "the shard cannot be read", do=COPY_AGAIN, kind=kind):
            file = os.open(self.shard, os.O_RDONLY | os.O_NONBLOCK)
            try:
                content = os.pread(file, self.size, self.offset)
            finally:
                os.close(file)
        if len(content) < self.size:
            raise UserError("the shard has changed, or is cut off", where=self.shard, do=COPY_AGAIN, kind=kind)
        return content


@dataclass
class Sample:
    """The members that share a key: the picture, and the files of columns."""

    key: str
    picture: Member | None = None
    columns: dict[str, Member] = field(default_factory=dict)  # by ending: json, cls


class WebDataset:
    """All samples of a set's shards, in the order of shards and members. A sample's name is its key."""

    name = "webdataset"
    layout = "train-*.tar with KEY.jpg and KEY.json or KEY.cls"

    def __init__(self, shards: list[Path], columns: Columns) -> None:
        """Reads the shards' tables of contents and small members. Raises UserError for a shard that is cut off."""
        samples = [sample for shard in shards for sample in samples_of(shard)]
        if not samples:
            what = "no member is named as an image, KEY.json or KEY.cls"
            raise UserError(what, where=shards[0], do="Write the shards as docs/sources.md says.")
        frame = frame_of([_row(sample, columns) for sample in samples], shards[0])
        self._table = table_of(frame, columns, ", ".join(str(shard) for shard in shards[:2]))
        self._samples = samples

    @classmethod
    def recognise(cls, location: SplitLocation) -> str | None:
        found = _shards(location)
        return f"it holds {found[0].name}" if found else None

    @classmethod
    def open(cls, location: SplitLocation, columns: Columns) -> Self:
        shards = _shards(location)
        if not shards:
            raise UserError(
                f"no .tar for the {location.split} set", where=location.folder, do="Add the shards, not compressed."
            )
        return cls(shards, columns)

    def table(self) -> SampleTable:
        return self._table

    def read(self, index: int) -> images.Pixels:
        sample = self._samples[index]
        if sample.picture is None:
            raise UserError(
                "a sample without image",
                where=f"{sample.key} in {next(iter(sample.columns.values())).shard}",
                do="Add it to the shard.",
                kind="unreadable_image",
            )
        content = sample.picture.content(max_bytes=MAX_PICTURE_BYTES, kind="unreadable_image")
        return images.decode_when_it_fits(content, name=f"{sample.key} in {sample.picture.shard}")


def samples_of(shard: Path) -> list[Sample]:
    """The samples of a shard by key, which is a member's path up to the first dot of its file name.

    Raises UserError for a shard that is not whole, and for members that are not plain files or occur twice.
    """
    samples: dict[str, Sample] = {}
    for info in _members(shard):
        folder, _, file_name = info.name.rpartition("/")
        if info.isdir() or file_name.startswith(".") or folder.startswith("__MACOSX"):
            continue
        stem, _, ending = file_name.partition(".")
        ending = ending.lower()
        if (is_picture := f".{ending}" in images.SUFFIXES) or ending in COLUMNS:
            _check(info, shard)
            key = f"{folder}/{stem}" if folder else stem
            sample = samples.setdefault(key, Sample(key))
            if ending in sample.columns or (is_picture and sample.picture):
                what = f"the sample '{key[:80]}' has two files of one kind"
                raise UserError(what, where=shard, do="Leave one of them.")
            member = Member(shard, info.offset_data, info.size)
            if is_picture:
                sample.picture = member
            else:
                sample.columns[ending] = member
    return list(samples.values())


def _members(shard: Path) -> Iterator[tarfile.TarInfo]:
    """What the headers of a shard say. Raises UserError where it is not a whole tar file, up to its last byte."""
    check_regular(shard)
    what, do = "not a whole tar file", "Copy it again, not compressed."
    with reading(shard, what, do=do), _Headers(shard) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        num_bytes, before = os.fstat(file.fileno()).st_size, -1
        while (info := tar.next()) is not None:
            is_whole = info.issparse() or 0 <= info.size <= num_bytes - info.offset_data
            if not is_whole or tar.offset <= before:  # backwards: members without end
                raise UserError(f"{what}: {info.name[-200:]!a} claims {info.size:,} bytes", where=shard, do=do)
            before = tar.offset
            tar.members.clear()  # type: ignore[attr-defined]  # else every header stays
            yield info
        file.seek(tar.offset)
        if file.read(MAX_HEADER_BYTES).strip(b"\0"):  # tarfile takes a broken header for the end
            raise UserError(f"{what}: there is more data after byte {tar.offset:,}", where=shard, do=do)


class _Headers(io.FileIO):
    """A tar file with bounded headers: a header may claim any size, even a negative one."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= MAX_HEADER_BYTES:
            raise ValueError(f"a header of {size} bytes")
        content = super().read(size) or b""
        if DIGITS.search(content):
            raise ValueError("a header with a number of hundreds of digits")
        return content


def _check(info: tarfile.TarInfo, shard: Path) -> None:
    """Raises UserError for a member that is not a plain file, or whose name is not plain text."""
    if CONTROL.search(info.name):
        why = "has control characters in its name, or bytes that are no UTF-8"
    elif info.issparse():
        why = "is a sparse file"
    elif not info.isreg():
        why = "is a link, a device or a pipe"
    else:
        return
    raise UserError(
        f"the member {info.name[-200:]!a} {why}", where=shard, do="Write the shard of plain files: tar --dereference."
    )


def _row(sample: Sample, columns: Columns) -> Mapping[str, str]:
    row = {columns.image or "image_name": sample.key}
    for ending, member in sample.columns.items():
        content = member.content(max_bytes=MAX_COLUMNS_BYTES)
        try:
            said = parse_json(content) if ending == "json" else content.decode().strip()
        except ValueError as error:
            raise _not_columns(f"{sample.key}.{ending}", ending, member, error) from error
        if ending == "json":
            if not isinstance(said, dict):
                raise _not_columns(f"{sample.key}.json", ending, member, f"it is a {type(said).__name__}")
            row |= {key: str(value) for key, value in said.items() if isinstance(value, str | int | float)}
        elif len(columns.targets) == 1:
            row.setdefault(columns.targets[0], str(said))
    return row


def _not_columns(name: str, ending: str, member: Member, why: object) -> UserError:
    return UserError(f"{name} is not {COLUMNS[ending]}: {why}", where=member.shard, do="Write it anew.")


def _shards(location: SplitLocation) -> list[Path]:
    return location.pick([path for path in walk_files(location.folder) if path.suffix == ".tar"])
