"""Reading: opens files of unknown origin without blocking, and turns every failure into a clear error.

The one place where a library's exception about user data becomes an error with file and remedy. Sizes that a file
claims are bounded before it is parsed.
"""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import re
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lesion.errors import LesionError, PlatformError, UserError

MIB = 1 << 20
MAX_TABLE_BYTES = 512 * MIB  # of a CSV, a list, a manifest: more than a million rows
MAX_PICTURE_BYTES = 1024 * MIB  # 100 million pixels of 16 bits and three colours are 600 MB
MAX_UNPACKED_BYTES = 256 * MIB  # of a file that gzip packed
GZIP = b"\x1f\x8b"
UNREADABLE, COPY_AGAIN = "the file cannot be read", "Copy it again."
# Not the data's fault: the same job may pass on another machine.
OF_THE_MACHINE = {
    errno.EIO, errno.ENOMEM, errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT, errno.ENODEV,
    errno.EREMOTEIO, errno.ENOTCONN, errno.ECONNRESET,
}  # fmt: skip
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # and halves of characters: bytes, not UTF-8


@contextmanager
def reading(where: object, what: str, *, do: str, kind: str = "bad_input") -> Iterator[None]:
    """Any exception inside becomes a UserError that says `what`, or a PlatformError if the machine failed.

    Put only library calls inside: they raise any kind of exception for a broken file, and our own bugs would be hidden.
    """
    try:
        yield
    except LesionError:
        raise
    except OSError as error:
        if error.errno in OF_THE_MACHINE:
            do = "Check disk, memory and network of this machine, and start again."
            raise PlatformError(f"{what}: {_words(error)}", where=where, do=do) from error
        raise UserError(f"{what}: {_words(error)}", where=where, do=do, kind=kind) from error
    except Exception as error:
        raise UserError(f"{what}: {_words(error)}", where=where, do=do, kind=kind) from error


def file_content(path: Path, *, max_bytes: int, kind: str = "bad_input", what: str = UNREADABLE) -> bytes:
    """All bytes of a regular file, unpacked where gzip packed it; links are followed.

    Raises UserError for anything else, so that a pipe or device never blocks, and for more than `max_bytes`, or
    MAX_UNPACKED_BYTES of a packed file.
    """
    check_regular(path, kind=kind, what=what)
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # nor for a pipe that has come in the file's place since
    with (
        reading(path, what, do=COPY_AGAIN, kind=kind),
        os.fdopen(os.open(path, flags), "rb") as file,
    ):
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            what = f"the file has {size:,} bytes, more than {max_bytes:,}"
            raise UserError(what, where=path, do="Remove it, or split it into smaller files.", kind=kind)
        content = file.read(size)
    return _unpacked(content, path, kind=kind, most=min(max_bytes, MAX_UNPACKED_BYTES))


def _unpacked(content: bytes, path: Path, *, kind: str, most: int) -> bytes:
    """The content, or what gzip packed in it. Raises UserError where that is cut off, or more than `most` bytes."""
    if not content.startswith(GZIP):
        return content
    with reading(path, "not a whole gzip file", do=COPY_AGAIN, kind=kind), gzip.open(io.BytesIO(content)) as packed:
        unpacked = packed.read(most + 1)
    if len(unpacked) > most:
        what = f"gzip unpacks it to more than {most:,} bytes"
        raise UserError(what, where=path, do="Unpack it yourself: gunzip FILE.", kind=kind)
    return unpacked


def unpacked_head(head: bytes, *, most: int) -> bytes:
    """A file's first bytes, or up to `most` of those that gzip packed in it; none of what only begins like gzip."""
    if not head.startswith(GZIP):
        return head
    try:
        return zlib.decompressobj(wbits=31).decompress(head, most)
    except zlib.error:
        return b""


def check_given(path: Path) -> None:
    """Raises UserError for a path that a user typed and that leads to nothing. Links to nothing are told when they are
    opened."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError("there is no such file or folder", where=path.absolute(), do="Correct the path.") from error
    except OSError:
        pass  # opening it says what is wrong


def check_regular(path: Path, *, kind: str = "bad_input", what: str = UNREADABLE) -> None:
    """Raises UserError unless there is a regular file at `path`, or a link to one."""
    with reading(path, what, do=COPY_AGAIN, kind=kind):
        mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise UserError(
            f"{KINDS.get(stat.S_IFMT(mode), 'no file')} and not a file",
            where=path,
            do="Replace it with a file, or remove it.",
            kind=kind,
        )


def file_text(path: Path, what: str, *, do: str, max_bytes: int = MAX_TABLE_BYTES) -> str:
    """A file's text. Raises UserError that says `what` if it is not UTF-8; UTF-16 is recognised by its NUL bytes."""
    content = file_content(path, max_bytes=max_bytes, what=what)
    with reading(path, what, do=do):
        text = content.decode("utf-8-sig")
    if "\0" in text:
        raise UserError(f"{what}: it holds NUL bytes", where=path, do=do)
    return text


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text; NaN becomes None. Raises only ValueError, also for what cannot be intended:

    a name twice in one object, nesting without end, integers of thousands of digits, halves of characters and NUL.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
        if "\\u0000" in text:
            raise ValueError("a text with NUL")
        if "\\ud" in text.lower():  # half of a character, unless its other half follows
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"'{twice[:80]}' occurs twice in one object")
    return found


def _constant(name: str) -> float | None:
    return None if name == "NaN" else float(name)


def _words(error: Exception) -> str:
    """The first line of an error's message, without control characters."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, MemoryError):
        return "it needs more memory than is available"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    first = next(iter(text.strip().splitlines()), "")[:200]
    return CONTROL.sub("?", first) or type(error).__name__
