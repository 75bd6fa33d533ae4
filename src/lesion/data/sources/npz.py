"""Npz: arrays of a NumPy archive, read without pickles and without trust in what their headers claim.

What is stored as it is, is read in place, row by row; what is compressed is unpacked into memory, as far as that goes.
"""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.data.decode.reading import MIB, check_regular, reading
from lesion.environment import resident_bytes, usable_memory_bytes
from lesion.errors import UserError

MAX_MEMBERS = 1000
MAX_UNPACKED_BYTES = 2048 * MIB  # of an array: 100,000 images of 64 px take 1.2 GB
LOCAL_HEADER_BYTES = 30  # of a ZIP file, before the name of a member
COPY = "Copy it again, as numpy.savez wrote it."
STORE = "Write it without compression, and it is read in place: numpy.savez(OUT, **numpy.load(IN))."


class Array:
    """One array of an archive: its shape and type, and its rows."""

    def __init__(self, path: Path, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], offset: int) -> None:
        self.shape, self.dtype = shape, dtype
        self._path, self._name, self._offset = path, name, offset
        self._unpacked: NDArray[Any] | None = None

    @classmethod
    def unpacked(cls, path: Path, name: str, values: NDArray[Any]) -> Array:
        array = cls(path, name, values.shape, values.dtype, 0)
        array._unpacked = values
        return array

    def read(self, first: int, last: int) -> NDArray[Any]:
        """The rows from `first` to before `last`. Raises UserError where the file has changed."""
        if self._unpacked is not None:
            return self._unpacked[first:last]
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        num_bytes = (last - first) * row_bytes
        kind = "unreadable_image" if last - first == 1 else "bad_input"
        with reading(self._path, f"row {first} of {self._name} cannot be read", do=COPY, kind=kind):
            file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                content = os.pread(file, num_bytes, self._offset + first * row_bytes)
            finally:
                os.close(file)
        if len(content) < num_bytes:
            what = f"{self._name} ends before row {last}"
            raise UserError(what, where=self._path, do=COPY, kind=kind)
        return np.frombuffer(content, self.dtype).reshape(last - first, *self.shape[1:])


def names_of_arrays(path: Path) -> list[str]:
    """The arrays' names, in the order of the archive. Raises UserError for what is no archive of arrays."""
    return list(_members(path))


def read_array(path: Path, name: str) -> Array:
    """The array called `name`.

    Raises UserError where it is not there, is Python objects, has another size than its header says, or is compressed
    and too large to be unpacked.
    """
    members = _members(path)
    if name not in members:
        raise UserError(f"no array called {name}", where=f"{path}: {list(members)[:10]}", do=f"Call it {name}.")
    info = members[name]
    what = f"{name} cannot be read"
    with reading(path, what, do=COPY), zipfile.ZipFile(path) as archive, archive.open(info) as member:
        shape, is_fortran, dtype = _header(member)
        header_bytes = member.tell()
        num_bytes = math.prod(shape) * dtype.itemsize
        if dtype.hasobject:
            raise UserError(f"{name} holds Python objects", where=path, do="Write it as an array of numbers.")
        if min(shape, default=0) < 0 or num_bytes != info.file_size - header_bytes:
            claim = f"{name} claims to be {dtype} {shape}, and has {info.file_size - header_bytes:,} bytes"
            raise UserError(claim, where=path, do=COPY)
        if info.compress_type == zipfile.ZIP_STORED and not is_fortran:
            return Array(path, name, shape, dtype, _offset(path, info) + header_bytes)
        most = min(MAX_UNPACKED_BYTES, max(usable_memory_bytes() - resident_bytes(), 0) // 2)
        if num_bytes > most:
            too_large = f"{name} takes {num_bytes:,} bytes unpacked, more than {most:,}"
            raise UserError(too_large, where=path, do=STORE)
        content = member.read()  # checks its checksum at the end
    values = np.frombuffer(content, dtype)
    return Array.unpacked(path, name, values.reshape(shape, order="F" if is_fortran else "C"))


def _members(path: Path) -> dict[str, zipfile.ZipInfo]:
    check_regular(path)
    with reading(path, "not a whole NumPy archive", do=COPY), zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
    found: dict[str, zipfile.ZipInfo] = {}
    if len(infos) > MAX_MEMBERS:
        raise UserError(f"{len(infos):,} members, more than {MAX_MEMBERS:,}", where=path, do=COPY)
    for info in infos:
        name = info.filename.removesuffix(".npy")
        if name in found:
            raise UserError(f"two arrays are called {name[:80]!a}", where=path, do=COPY)
        found[name] = info
    return found


def _header(member: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is written column by column, and type. Raises ValueError for what is no array."""
    version = np.lib.format.read_magic(member)
    if version != (1, 0):  # what a header of another version says of its own length is not bounded
        raise ValueError(f"written in version {version[0]}.{version[1]} of NumPy's format, and not in 1.0")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(member)
    return shape, is_fortran, dtype


def _offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Where a member's content begins: after its own header, whose length only the header says."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(LOCAL_HEADER_BYTES)
    return (
        info.header_offset
        + LOCAL_HEADER_BYTES
        + int.from_bytes(header[26:28], "little")
        + int.from_bytes(header[28:30], "little")
    )
