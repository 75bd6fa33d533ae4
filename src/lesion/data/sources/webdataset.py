"""WebDataset: tar shards whose members KEY.jpg, KEY.json and KEY.cls are one sample.

Pictures are read in place, in any order: nothing is extracted, and a shard may be larger than memory.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from lesion.data.decode import images
from lesion.data.decode.reading import (
    CONTROL,
    COPY_AGAIN,
    MAX_PICTURE_BYTES,
    MIB,
    check_regular,
    parse_json,
    reading,
)
from lesion.data.remark import Remark
from lesion.data.sources.folders.folder_classes import folder_classes
from lesion.data.sources.location import SplitLocation, walk_files
from lesion.data.sources.rows import frame_of, table_of
from lesion.data.sources.sample_keys import keys_of
from lesion.data.sources.tables.column_names import IMAGE_COLUMNS
from lesion.data.sources.tables.json_cells import list_cell, nested_remarks, paths_in, with_words
from lesion.data.sources.tables.known_columns import image_column_of
from lesion.data.table import Columns, SampleTable
from lesion.errors import UserError
from lesion.words import listed, one_line

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
    shard: Path
    picture: Member | None = None
    columns: dict[str, Member] = field(default_factory=dict)  # by ending: json, cls


class WebDataset:
    """All samples of a set's shards, in the order of shards and members. A sample's name is its key."""

    name = "webdataset"

    def __init__(self, shards: list[Path], columns: Columns) -> None:
        """Reads the shards' tables of contents and small members. Raises UserError for a shard that is cut off."""
        contents = [contents_of(shard) for shard in shards]
        samples = [sample for shard in contents for sample in shard.samples]
        if not samples:
            what = "no member is named as an image, KEY.json or KEY.cls"
            raise UserError(what, where=shards[0], do="Write the shards as docs/sources.md says.")
        where, remarks = ", ".join(str(shard) for shard in shards[:2]), _not_read(shards, contents)
        nested: Counter[str] = Counter()
        rows = [_row(sample, nested) for sample in samples]
        image_column = _add_keys(rows, samples, columns)
        remarks += with_words(rows, _words_of(samples), columns, image_column, shards[0])
        remarks += nested_remarks(rows, nested, columns, shards[0])
        if columns.targets and not any(sample.columns for sample in samples):
            remarks += _add_folder_classes(rows, samples, columns, where)
        if repeated := _repeated([row[image_column] for row in rows], samples):
            for row, sample in zip(rows, samples, strict=True):
                row[image_column] = f"{sample.shard.stem}/{row[image_column]}"
            what = f"{repeated} keys are in several shards, so each row's name begins with its shard's: "
            remarks.append(Remark("shard_in_name", what + rows[0][image_column], where=where))
        table = table_of(frame_of(rows, shards[0]), columns, where)
        self._table = replace(table, remarks=(*table.remarks, *remarks))
        self._samples, self._shards, self._decode_px = samples, shards, columns.decode_px

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

    def files(self) -> list[Path]:
        return self._shards

    def read(self, index: int) -> images.Pixels:
        sample = self._samples[index]
        if sample.picture is None:
            raise UserError(
                "a sample without image",
                where=f"{sample.key} in {sample.shard}",
                do="Add it to the shard.",
                kind="unreadable_image",
            )
        content = sample.picture.content(max_bytes=MAX_PICTURE_BYTES, kind="unreadable_image")
        where = f"{sample.key} in {sample.shard}"
        return images.decode_when_it_fits(content, name=where, decode_px=self._decode_px)


@dataclass(frozen=True)
class Contents:
    """The samples of a shard, and the paths of its members that no sample took."""

    samples: list[Sample]
    not_read: list[str]


def contents_of(shard: Path) -> Contents:
    """The samples of a shard by key (`sample_keys`).

    Raises UserError for a shard that is not whole, and for members that are not plain files or occur twice.
    """
    members: dict[str, Member] = {}
    not_read = []
    for info in _members(shard):
        folder, _, file_name = info.name.rpartition("/")
        if info.isdir() or file_name.startswith(".") or folder.startswith("__MACOSX"):
            continue
        if not _is_picture(info.name) and _ending(info.name) not in COLUMNS:
            not_read.append(info.name)
            continue
        _check(info, shard)
        if info.name in members:
            raise _two_files(info.name.rpartition(".")[0], shard)
        members[info.name] = Member(shard, info.offset_data, info.size)
    samples: dict[str, Sample] = {}
    for path, key in keys_of({path: _is_picture(path) for path in members}).items():
        if key is None:
            not_read.append(path)
            continue
        sample = samples.setdefault(key, Sample(key, shard))
        ending = _ending(path)
        if ending in sample.columns or (_is_picture(path) and sample.picture):
            raise _two_files(key, shard)
        if _is_picture(path):
            sample.picture = members[path]
        else:
            sample.columns[ending] = members[path]
    return Contents(list(samples.values()), not_read)


def _ending(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[2].lower()


def _is_picture(path: str) -> bool:
    return f".{_ending(path)}" in images.SUFFIXES


def _two_files(key: str, shard: Path) -> UserError:
    return UserError(f"the sample '{key[:80]}' has two files of one kind", where=shard, do="Leave one of them.")


def _not_read(shards: Sequence[Path], contents: Sequence[Contents]) -> list[Remark]:
    """What is said of the members that no sample took."""
    left = [(path, shard) for shard, part in zip(shards, contents, strict=True) for path in part.not_read]
    if not left:
        return []
    counts = Counter(f".{path.rpartition('/')[2].partition('.')[2]}" for path, _ in left)
    kinds = listed([f"{count} {ending}" for ending, count in counts.most_common()], most=6)
    number = "1 member of the shards is" if len(left) == 1 else f"{len(left)} members of the shards are"
    what = f"{number} not read: {kinds}, such as {one_line(left[0][0][-200:])}"
    do = "A sample is KEY.jpg (or any image) with KEY.json or KEY.cls."
    return [Remark("members_not_read", what, do, str(left[0][1]), "warning")]


def _repeated(names: Sequence[str], samples: Sequence[Sample]) -> int:
    """How many names are keys that several shards have."""
    shards_of: dict[str, set[Path]] = defaultdict(set)
    for name, sample in zip(names, samples, strict=True):
        if name == sample.key:
            shards_of[name].add(sample.shard)
    return sum(len(shards) > 1 for shards in shards_of.values())


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


def _row(sample: Sample, nested: Counter[str]) -> dict[str, str]:
    """What KEY.json says of a sample. Counts the keys that hold more than a cell does."""
    row: dict[str, str] = {}
    if (member := sample.columns.get("json")) is None:
        return row
    try:
        said = parse_json(member.content(max_bytes=MAX_COLUMNS_BYTES))
    except ValueError as error:
        raise _not_columns(f"{sample.key}.json", "json", member, error) from error
    if not isinstance(said, dict):
        raise _not_columns(f"{sample.key}.json", "json", member, f"it is a {type(said).__name__}")
    for key, value in said.items():
        if isinstance(value, str | int | float):
            row[key] = str(value)
        elif (cell := list_cell(key, value)) is not None:
            row[key] = cell
        elif isinstance(value, dict | list):
            nested.update(paths_in(key, value))
    return row


def _add_keys(rows: Sequence[dict[str, str]], samples: Sequence[Sample], columns: Columns) -> str:
    """Names the samples that KEY.json does not name by their keys, and returns the column of the names.

    It is the one that a table with the columns of the JSON has. One that calls several samples the same names none.
    """
    there = {name for row in rows for name in row}
    if any("cls" in sample.columns for sample in samples):
        there |= {*columns.targets}
    own = image_column_of(sorted(there), columns)
    names = [row[own] for row in rows if own is not None and own in row]
    is_naming = columns.image is not None or own == IMAGE_COLUMNS[0] or len(set(names)) == len(names)
    column = own if own is not None and is_naming else columns.image or IMAGE_COLUMNS[0]
    for row, sample in zip(rows, samples, strict=True):
        row.setdefault(column, sample.key)
    return column


def _words_of(samples: Sequence[Sample]) -> list[str | None]:
    """What KEY.cls says of each sample; None where there is none. Raises UserError for what is no text."""
    words: list[str | None] = []
    for sample in samples:
        member = sample.columns.get("cls")
        try:
            words.append(None if member is None else member.content(max_bytes=MAX_COLUMNS_BYTES).decode().strip())
        except ValueError as error:
            assert member is not None
            raise _not_columns(f"{sample.key}.cls", "cls", member, error) from error
    return words


def _add_folder_classes(
    rows: Sequence[dict[str, str]], samples: Sequence[Sample], columns: Columns, where: str
) -> list[Remark]:
    """Adds the folder of each image as its class, in shards of images alone.

    Raises UserError where there is none, and a class is needed.
    """
    classes = folder_classes([sample.key for sample in samples])
    if classes is None or len(columns.targets) > 1:
        if columns.are_targets_needed and not columns.is_lenient:
            raise UserError(
                "the shards hold images alone, and no sample says its class",
                where=where,
                do='Add KEY.cls (a word) or KEY.json ({"target": …}) beside each image, or put the images of each '
                "class into a folder of its name before packing them.",
            )
        return []
    for row, name in zip(rows, classes, strict=True):
        row[columns.targets[0]] = name
    names = listed([f"{name}/" for name in sorted(set(classes))], most=6)
    what = f"the shards hold images alone, so the folder of each is its class: {names}"
    return [Remark("classes_by_folder", what, "Add KEY.cls or KEY.json if it is not.", where)]


def _not_columns(name: str, ending: str, member: Member, why: object) -> UserError:
    return UserError(f"{name} is not {COLUMNS[ending]}: {why}", where=member.shard, do="Write it anew.")


def _shards(location: SplitLocation) -> list[Path]:
    return location.pick([path for path in walk_files(location.folder) if path.suffix == ".tar"])
