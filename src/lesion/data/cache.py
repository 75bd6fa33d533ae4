"""Cache: each training picture decoded once to two squares in one file on the disk, read by all folds and epochs.

Without enough disk space the same squares are decoded at each use: slower, with identical results.
"""

# H, W pixels · S samples

from __future__ import annotations

import fcntl
import logging
import math
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lesion.data.decode.images import Pixels
from lesion.data.table import Readable
from lesion.data.transforms import Preprocess, training_px
from lesion.errors import PlatformError
from lesion.files import remove

log = logging.getLogger(__name__)

MIB = 1 << 20
MARGIN_BYTES = 1 << 30  # left free for checkpoints, the artifact and the results
PREFIX = "lesion-pictures-"


class Pictures(Protocol):
    """The squares of numbered pictures, uint8 RGB. Reading is safe from several threads at once."""

    @property
    def image_size(self) -> int: ...

    def training(self, index: int) -> Pixels:
        """The square of a picture by `Preprocess.for_training`, with a side of `training_px(image_size)`."""
        ...

    def square(self, index: int, out_HWC: Pixels | None = None) -> Pixels:
        """The square of a picture by `Preprocess`, as in serving; written into `out_HWC` if given."""
        ...


class Decoded:
    """Pictures that are decoded at each use."""

    def __init__(self, source: Readable, preprocess: Preprocess) -> None:
        self._source, self._preprocess = source, preprocess

    @property
    def image_size(self) -> int:
        return self._preprocess.image_size

    def training(self, index: int) -> Pixels:
        return self._preprocess.for_training(self._source.read(index))

    def square(self, index: int, out_HWC: Pixels | None = None) -> Pixels:
        square_HWC = self._preprocess(self._source.read(index))
        if out_HWC is None:
            return square_HWC
        out_HWC[:] = square_HWC
        return out_HWC


class Cached:
    """Pictures in an open file, the training square and then the other; `place_S` says where each picture stands.

    Reads with pread and not by memory mapping: that releases the GIL, does not count as our memory, and a failing disk
    raises an error instead of SIGBUS.
    """

    def __init__(self, file: int, place_S: NDArray[np.intp], image_size: int) -> None:
        self._file, self._place_S, self._image_size = file, place_S, image_size

    @property
    def image_size(self) -> int:
        return self._image_size

    def training(self, index: int) -> Pixels:
        side_px = training_px(self.image_size)
        return self._read(index, 0, np.empty((side_px, side_px, 3), np.uint8))

    def square(self, index: int, out_HWC: Pixels | None = None) -> Pixels:
        """As Pictures says; `out_HWC` must be one piece of memory."""
        out_HWC = np.empty((self.image_size, self.image_size, 3), np.uint8) if out_HWC is None else out_HWC
        return self._read(index, square_bytes(training_px(self.image_size)), out_HWC)

    def _read(self, index: int, start: int, out_HWC: Pixels) -> Pixels:
        where = int(self._place_S[index]) * record_bytes(self.image_size) + start
        try:
            num_read = os.preadv(self._file, [out_HWC.data], where)
        except OSError as error:
            raise _broken(error.strerror or str(error)) from error
        if num_read != out_HWC.nbytes:
            raise _broken(f"it ends at byte {where + num_read}")
        return out_HWC


class Cache:
    """A job's cache. Enter it, `reserve`, `keep` each picture once, then take `pictures`; leaving removes the file.

    Another process of the same host opens it by `pictures_of(path)`.

    The file is locked; the lock ends with the process, so that leftovers of a killed job are recognised and removed.
    """

    def __init__(self, folder: Path, preprocess: Preprocess, *, is_wanted: bool = True) -> None:
        self._folder, self._preprocess, self._is_wanted = folder, preprocess, is_wanted
        self._path: Path | None = None
        self._file: int | None = None
        self._write_error = ""

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *_: object) -> None:
        if self._path is not None:
            try:
                remove(self._path)
            except PlatformError as error:  # the next job removes it
                log.warning("the cache of decoded images cannot be removed: %s", error)
        if self._file is not None:
            os.close(self._file)
        self._path = self._file = None

    @property
    def path(self) -> Path | None:
        """The cache file; None if pictures are decoded at each use."""
        return self._path

    def reserve(self, num_pictures: int) -> None:
        """Reserves disk space for all pictures, so that the disk cannot fill up later; or logs why it does not."""
        self._is_kept_S = np.zeros(num_pictures, dtype=bool)
        self._started = self._ended = time.monotonic()
        try:
            if not self._is_wanted:
                self._decode_as_needed("it is set")
                return
            self._folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self._folder)
            if shutil.disk_usage(self._folder).free < self._num_bytes + MARGIN_BYTES:
                self._decode_as_needed("too little room")
                return
            self._file, path = tempfile.mkstemp(prefix=PREFIX, dir=self._folder)
            self._path = Path(path)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            os.posix_fallocate(self._file, 0, max(self._num_bytes, 1))
        except OSError as error:
            self._decode_as_needed(error.strerror or str(error))

    def keep(self, index: int, image_HWC: Pixels) -> None:
        """Writes a picture's two squares, `index` being its place among all that were reserved. Thread-safe."""
        if self._file is None:
            return
        squares = [self._preprocess.for_training(image_HWC), self._preprocess(image_HWC)]
        record = np.concatenate([square_HWC.ravel() for square_HWC in squares])
        try:
            self._is_kept_S[index] = os.pwrite(self._file, record.data, index * record.nbytes) == record.nbytes
        except OSError as error:  # a disk that promised the room and has none, as one that compresses may
            self._write_error = error.strerror or str(error)
        self._ended = time.monotonic()

    def pictures(self, source: Readable, place_S: NDArray[np.intp]) -> Pictures:
        """The pictures of `source`, whose rows stand at `place_S` among all that were reserved."""
        if self._file is not None and not self._is_kept_S[place_S].all():
            self._decode_as_needed(self._write_error or "not all images were kept")
        if self._file is None:
            return Decoded(source, self._preprocess)
        mib, seconds = self._num_bytes / MIB, self._ended - self._started
        log.info("cache=on mib=%.0f pictures=%d seconds=%.1f", mib, len(self._is_kept_S), seconds)
        return Cached(self._file, place_S, self._preprocess.image_size)

    def pictures_of(self, path: Path | None, source: Readable, place_S: NDArray[np.intp]) -> Pictures:
        """The pictures of `source` in the file of another process's cache, which stays that one's to remove."""
        if path is None:
            return Decoded(source, self._preprocess)
        try:
            self._file = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise _broken(error.strerror or str(error)) from error
        return Cached(self._file, place_S, self._preprocess.image_size)

    @property
    def _num_bytes(self) -> int:
        return len(self._is_kept_S) * record_bytes(self._preprocess.image_size)

    def _decode_as_needed(self, why: str) -> None:
        self.__exit__()
        there = next(path for path in (self._folder, *self._folder.absolute().parents) if path.is_dir())
        try:
            free_mib = shutil.disk_usage(there).free / MIB
        except OSError:
            free_mib = math.nan
        needed_mib = self._num_bytes / MIB
        log.info('cache=off why="%s" needed_mib=%.0f free_mib=%.0f folder=%s', why, needed_mib, free_mib, self._folder)


def square_bytes(side_px: int) -> int:
    return side_px * side_px * 3


def record_bytes(image_size: int) -> int:
    """What a picture takes on the disk: the training square and the other."""
    return square_bytes(training_px(image_size)) + square_bytes(image_size)


def remove_leftovers(folder: Path) -> None:
    """Removes the files of jobs that are dead, which is those that nobody holds a lock on."""
    for path in folder.glob(f"{PREFIX}*"):
        with suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _broken(why: str) -> PlatformError:
    return PlatformError(
        f"the cache of decoded images cannot be read: {why}",
        do="Check the disk of this machine, or set cache=off.",
    )
