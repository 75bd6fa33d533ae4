"""HDF5: reads datasets safely: only from their own file, and no more bytes than their shape needs.

HDF5 lets a dataset refer to other files, to plugins, and to more memory than there is. All of that is refused by its
header, with the library's low-level calls, since the high-level ones follow such references.
"""

from __future__ import annotations

import itertools
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesion.data.decode.reading import CONTROL, MIB, check_regular, reading
from lesion.errors import UserError

CACHE_BYTES = 64 * MIB  # of unpacked chunks: rows are read in any order
MAX_CHUNK_BYTES = 256 * MIB  # unpacked: one is in memory for each read
MAX_NAMES = 5_000_000  # of a file
MAX_CHUNKS = 100_000  # that one read may open: a second of looking them up
MAX_DEFLATE_RATIO = 1032
MAX_LZF_RATIO = 88  # 264 bytes from 3
DEFLATE, SHUFFLE, FLETCHER32, LZF = 1, 2, 3, 32000
# The filters with bounded output. Others are refused by number: the library would load a plugin for them.
FILTERS = {DEFLATE, SHUFFLE, FLETCHER32, LZF}
CHECKSUM_BYTES = 4  # of Fletcher-32
REWRITE = "Write it again with h5py as one plain dataset, with gzip or without: h5repack -f GZIP=4 IN OUT."
REWRITE_BYTES = "Write the bytes of its file as one opaque value: numpy.void(file.read())."
COPY = "Copy it again, unpacked."


def open_file(path: Path) -> Any:
    """The file as h5py has it. Raises UserError where it is not whole."""
    import h5py

    check_regular(path)
    with reading(path, "not a whole HDF5 file", do=COPY):
        return h5py.File(path, "r", rdcc_nbytes=CACHE_BYTES)


def names_in(file: Any, path: Path) -> list[str]:
    """The names of all that lies in the file and not in its groups, in their alphabetical order.

    Raises UserError for more than MAX_NAMES, and for a name that is not plain text.
    """
    with reading(path, "not a whole HDF5 file", do=COPY):
        names = list(itertools.islice(file, MAX_NAMES + 1))
    if len(names) > MAX_NAMES:
        raise UserError(f"more than {MAX_NAMES:,} datasets", where=path, do="Split it into smaller files.")
    if strange := next((name for name in names if CONTROL.search(name)), None):
        what = f"the name {strange[:200]!a} has control characters, or bytes that are no UTF-8"
        raise UserError(what, where=path, do="Rename it.")
    return names


class Dataset:
    """One dataset of an open file, checked; its chunks are checked before they are first decompressed."""

    def __init__(self, path: Path, name: str, *, file: Any = None, kind: str = "bad_input") -> None:
        """`file` is the open file, if it is open already; `kind` is the kind of the errors.

        Raises UserError if it is not a dataset, or refers to another file.
        """
        import h5py

        self._path, self._name, self._kind = path, name, kind
        self._file = open_file(path) if file is None else file
        with reading(path, "not a whole HDF5 file", do=COPY, kind=kind):
            self._id = self._open()
            self._plan = self._id.get_create_plist()
        self._check_storage()
        with reading(path, f"{name} cannot be read", do=COPY, kind=kind):
            self._dataset = h5py.Dataset(self._id)
            self.shape: tuple[int, ...] | None = self._dataset.shape
            self.dtype = self._dataset.dtype
        if self.shape is None:
            raise self._refused("is empty", REWRITE)
        self._check_filters()
        self._checked: set[tuple[int, ...]] = set()  # corners of chunks

    def read(self, first: int, last: int) -> NDArray[Any]:
        """The rows from `first` to before `last`. Raises UserError for chunks that are broken or too large."""
        assert self.shape is not None
        kind = "unreadable_image" if last - first == 1 else self._kind
        for corner in self._corners(first, last):
            if corner not in self._checked:
                self._check_chunk(corner, kind=kind)
                self._checked.add(corner)
        with reading(self._path, f"row {first} of {self._name} cannot be read", do=COPY, kind=kind):
            return np.asarray(self._dataset[first:last])

    @property
    def holds_bytes(self) -> bool:
        """Whether it holds a file's bytes: one text or opaque value of fixed length, or a row of numbers of 8 bits."""
        is_value = self.dtype.kind in "SV" and self.dtype.names is None and self.dtype.subdtype is None
        return (is_value and self.shape == ()) or (self.dtype in ("uint8", "int8") and len(self.shape or ()) == 1)

    def content(self, *, max_bytes: int) -> bytes:
        """The bytes of the file that it holds. Raises UserError where it holds none, or more than `max_bytes`."""
        if not self.holds_bytes:
            raise self._refused(f"is {self.dtype} {self.shape} and not the bytes of an image", REWRITE_BYTES)
        assert self.shape is not None
        num_bytes = math.prod(self.shape) * self.dtype.itemsize
        most = self._id.get_storage_size() * (MAX_DEFLATE_RATIO if self._codes else 1)  # else zeros that nobody wrote
        if num_bytes > min(max_bytes, most):
            raise self._refused(f"claims {num_bytes:,} bytes, more than {min(max_bytes, most):,}", "Leave it out.")
        if self.shape:
            return self.read(0, num_bytes).tobytes()
        value = np.empty((), self.dtype)
        with reading(self._path, f"{self._name} cannot be read", do=COPY, kind=self._kind):
            self._dataset.read_direct(value)  # its own way to give a value cuts zeros off at the end
        return value.tobytes()

    def _open(self) -> Any:
        """The dataset's handle, without following a link: one may lead into another file."""
        import h5py

        name = self._name.encode()
        if not self._file.id.links.exists(name):
            names = list(itertools.islice(self._file, 6))
            raise UserError(
                f"no dataset called {self._name}",
                where=f"{self._path}: {names}",
                do=f"Call it {self._name}.",
                kind=self._kind,
            )
        if self._file.id.links.get_info(name).type != h5py.h5l.TYPE_HARD:
            raise self._refused("is a link to another place", REWRITE)
        found = h5py.h5o.open(self._file.id, name)
        if not isinstance(found, h5py.h5d.DatasetID):
            raise self._refused("is a group or a type and no dataset", REWRITE)
        return found

    def _check_storage(self) -> None:
        import h5py

        if self._plan.get_layout() == h5py.h5d.VIRTUAL:
            raise self._refused("is a virtual dataset, put together from other files", REWRITE)
        if self._plan.get_layout() == h5py.h5d.CONTIGUOUS and self._plan.get_external_count():
            raise self._refused("keeps its bytes in another file (external storage)", REWRITE)

    def _check_filters(self) -> None:
        import h5py

        self._chunk_shape: tuple[int, ...] = ()
        self._codes: list[int] = []
        if self._plan.get_layout() != h5py.h5d.CHUNKED:
            return
        with reading(self._path, f"{self._name} cannot be read", do=COPY, kind=self._kind):
            self._chunk_shape = self._plan.get_chunk()
            filters = [self._plan.get_filter(number) for number in range(self._plan.get_nfilters())]
        self._codes = [code for code, *_ in filters]
        if strange := [code for code in self._codes if code not in FILTERS]:
            raise self._refused(f"is packed by filter {strange[0]}, which is not supported", REWRITE)
        if sum(code in {DEFLATE, LZF} for code in self._codes) > 1:
            raise self._refused("is compressed twice", REWRITE)
        self._chunk_bytes = math.prod(self._chunk_shape) * self.dtype.itemsize
        stated = [values[2] for code, _, values, _ in filters if code == LZF and len(values) > 2]
        if max(self._chunk_bytes, *stated, 0) > MAX_CHUNK_BYTES:
            raise self._refused(
                f"has chunks of {self._chunk_bytes:,} bytes, more than {MAX_CHUNK_BYTES:,}",
                "Write it again with smaller chunks, such as one per image.",
            )

    def _corners(self, first: int, last: int) -> list[tuple[int, ...]]:
        """Where the chunks of these rows begin; none where nothing is packed."""
        if not self._codes:
            return []
        assert self.shape is not None
        starts = [range(first - first % self._chunk_shape[0], last, self._chunk_shape[0])]
        starts += [range(0, side, step) for side, step in zip(self.shape[1:], self._chunk_shape[1:], strict=True)]
        if math.prod(map(len, starts)) > MAX_CHUNKS:
            raise self._refused(f"has more than {MAX_CHUNKS:,} chunks to read at once", REWRITE)
        return list(itertools.product(*starts))

    def _check_chunk(self, corner: tuple[int, ...], *, kind: str) -> None:
        """Raises UserError for a chunk that decompresses to more than its shape: deflate reaches a ratio of 1,032."""
        limit = self._chunk_bytes + CHECKSUM_BYTES
        with reading(self._path, f"the chunk at {corner} of {self._name} cannot be read", do=COPY, kind=kind):
            stored = self._id.get_chunk_info_by_coord(corner)
            applied = {code for place, code in enumerate(self._codes) if not stored.filter_mask >> place & 1}
            num_bytes = stored.size
            if LZF in applied:
                num_bytes = 0 if stored.size * MAX_LZF_RATIO <= MAX_CHUNK_BYTES else MAX_CHUNK_BYTES + limit
            elif DEFLATE in applied and stored.size <= MAX_CHUNK_BYTES:
                packed = self._id.read_direct_chunk(corner)[1] if stored.size else b""
                num_bytes = len(zlib.decompressobj().decompress(packed, limit + 1))
        if num_bytes > limit:
            raise UserError(
                f"{self._name} has a chunk at {corner} that unpacks to more than the {self._chunk_bytes:,} bytes of "
                "its shape",
                where=self._path,
                do=REWRITE,
                kind=kind,
            )

    def _refused(self, why: str, do: str) -> UserError:
        return UserError(f"{self._name} {why}", where=self._path, do=do, kind=self._kind)
