"""Files: every write goes through here. A file is complete or absent, and a disk error becomes a clear message.

Every OSError becomes a PlatformError that names the path, what the system said, and what to do about it.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from lesion.errors import PlatformError, UserError

log = logging.getLogger(__name__)

PART = ".sagemaker-ignore"  # how a file that is being written is called; SageMaker does not upload it

_FREE = "Free disk space there, or choose a larger volume."
_ALLOW = "Mount it writable, and let this process's user write there."
_IN_THE_WAY = "A file is in the place of a folder, or a folder in the place of a file: move it, or choose another path."
_BROKEN = "Check that disk; the same command may pass on another machine."
_OPEN_FILES = "Raise the limit of open files (ulimit -n)."
REMEDIES = {
    errno.ENOSPC: _FREE,
    errno.EDQUOT: _FREE,
    errno.EFBIG: "Raise the limit on a file's size (ulimit -f), or choose another file system.",
    errno.EROFS: _ALLOW,
    errno.EACCES: _ALLOW,
    errno.EPERM: _ALLOW,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EISDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.ENOENT: "The folder does not exist, or was removed meanwhile: create it, and start again.",
    errno.ENAMETOOLONG: f"Choose a shorter name: {len(PART)} characters are added while it is written.",
    errno.ENOMEM: "Choose a machine with more memory.",
    errno.EMFILE: _OPEN_FILES,
    errno.ENFILE: _OPEN_FILES,
}


@contextmanager
def writing(path: Path, refusal: str = "cannot be written") -> Iterator[None]:
    """Inside, an OSError becomes a PlatformError about `path`; so nothing but the writing belongs inside."""
    try:
        yield
    except OSError as error:
        raise refused(error, path, refusal) from error


def refused(error: OSError, where: object, refusal: str = "cannot be written") -> PlatformError:
    """What to raise for an error of the system's."""
    do = REMEDIES.get(error.errno or 0, _BROKEN)
    return PlatformError(f"{refusal}: {error.strerror or error}", where=where, do=do)


def make_folder(path: Path) -> None:
    """Makes the folder `path` and its parents. Raises PlatformError if that fails."""
    with writing(path, "folder cannot be made"):
        path.mkdir(parents=True, exist_ok=True)


def ensure_writable(path: Path) -> None:
    """Makes the folder of `path`, and raises PlatformError now where that file could not be written hours later.

    Whether there will be room for it is not known. What lies at `path` stays.
    """
    make_folder(path.parent)
    with writing(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not is_device(path):
            part = _part(path)
            part.open("wb").close()
            part.unlink()


def write_atomic(path: Path, content: bytes, *, refusal: str = "cannot be written") -> None:
    """After a kill or a power cut, `path` holds the old bytes or all of the new ones.

    Raises PlatformError, which begins with `refusal`, where the disk refuses; the old bytes stay, and nothing else is
    left.
    """
    with atomic_writer(path, refusal=refusal) as file:
        file.write(content)


@contextmanager
def atomic_writer(path: Path, *, refusal: str = "cannot be written") -> Iterator[BinaryIO]:
    """As `write_atomic`, in pieces: `path` changes only when the context is left without an error.

    A pipe or device, such as /dev/stdout, is written directly, since it cannot be replaced.
    """
    with writing(path, refusal):
        if is_device(path):
            number = _own_stream(path)  # as it stands: behind what was written to it, if it is a file
            with path.open("wb") if number is None else os.fdopen(os.dup(number), "wb") as file:
                yield file
            return
        part = _part(path)
        try:
            with part.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())  # the bytes are down before the name moves
            part.replace(path)
        except BaseException:
            with suppress(OSError):  # the first error is the one to tell
                part.unlink(missing_ok=True)  # what is left in model/ would be uploaded
            raise
        _sync(path.parent)  # and its name, before we report success


def write_whole(path: Path, content: bytes) -> None:
    """Writes one of many small files, without waiting until each is down; `os.sync` does that for all of them.

    Raises PlatformError where the disk refuses, and leaves no half file.
    """
    with writing(path):
        try:
            path.write_bytes(content)
        except OSError:
            with suppress(OSError):
                path.unlink()
            raise


def write_first(path: Path, content: bytes) -> None:
    """Writes `path` unless it is there: of several writers the first stays. Raises PlatformError."""
    with writing(path):
        try:
            file = path.open("xb")
        except FileExistsError:
            return
        try:
            with file:
                file.write(content)
        except OSError:
            with suppress(OSError):
                path.unlink()
            raise


def remove(path: Path) -> None:
    """Takes a file away, if it is there. Raises PlatformError where the disk refuses."""
    with writing(path, "cannot be removed"):
        path.unlink(missing_ok=True)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A temporary folder, removed when the context is left. Raises PlatformError if it cannot be made."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="lesion-", ignore_cleanup_errors=True)
    except OSError as error:
        where = os.environ.get("TMPDIR", "/tmp")  # noqa: S108  # only named
        raise refused(error, where, "no temporary folder can be made") from error
    with folder as path:
        yield Path(path)


@contextmanager
def only_one(folder: Path, what: str = "training") -> Iterator[None]:
    """Inside, the folder is locked. Raises UserError where another process holds its lock: it runs another `what`.

    The system takes the lock away from a process that ends, however it ends, and no file is written for it. A folder
    that is not there, or on a file system without locks, is not locked.
    """
    try:
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # it is not there: whoever reads it says so
        yield
        return
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another {what} runs here",
                where=folder,
                do="Wait until it ends, or stop it; or choose another folder.",
                kind="busy",
            ) from error
        except OSError as error:
            log.warning("cannot be locked against a second %s: %s (%s)", what, error.strerror, folder)
        yield
    finally:
        os.close(number)


def is_device(path: Path) -> bool:
    """Whether a pipe, a terminal or a device is there, or a stream of this process, whatever that is."""
    if _own_stream(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _own_stream(path: Path) -> int | None:
    """The number of the stream of this process that is called so, such as 1 for /dev/stdout, a link that must stay."""
    place = path.parent.resolve() / path.name
    for one in [place, place.parent / place.readlink()] if place.is_symlink() else [place]:
        if one.parent in {Path("/proc/self/fd"), Path(f"/proc/{os.getpid()}/fd")} and one.name.isdecimal():
            return int(one.name)
    return None


def _part(path: Path) -> Path:
    return path.with_name(path.name + PART)


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def numbered_stem(number: int, name: str) -> str:
    """A file name without an ending for row `number` of a set, whatever characters its name has: 00007_tile_x0_y256."""
    return f"{number:05d}_{re.sub('[^A-Za-z0-9._-]', '_', Path(name).name)[:80]}"
