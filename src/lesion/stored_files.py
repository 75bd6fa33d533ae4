"""Stored files: reads a file of an artifact after checking its folder, digest, length and header.

Artifacts are untrusted: a name may lead outside the folder, a file may be a pipe, a header may lie. Every fault is a
UserError of kind `artifact`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lesion.errors import LesionError, PlatformError, UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OF_THE_MACHINE = {errno.EIO, errno.ESTALE, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
ALTERED = "its bytes differ from those that the manifest records"
MAX_HEADER_BYTES = 100 * 2**20  # of a safetensors file: its own library's limit
BYTES_OF = {
    **{"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2},
    **{"I8": 1, "U8": 1, "BOOL": 1},
}


def is_plain_name(name: str) -> bool:
    """Whether a name is that of a file in the folder itself."""
    return name not in {"", ".", ".."} and not set(name) & set("/\\") and name.isprintable() and len(name) <= 255


def _plain_name(name: str) -> str:
    if not is_plain_name(name):
        raise ValueError(f"{name[:80]!r} is not the name of a file in the artifact's own folder")
    return name


FileName = Annotated[str, AfterValidator(_plain_name)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]  # SHA-256


class FileRecord(BaseModel):
    """A file's digest and length when it was written; formats 1 and 2 have no length."""

    model_config = ConfigDict(frozen=True)

    sha256: Digest
    bytes: Annotated[int, Field(ge=0)] | None = None


@dataclass(frozen=True)
class TensorHeader:
    """A tensor in a safetensors header: its type, such as `F32`, and its shape."""

    dtype: str
    shape: tuple[int, ...]


def unusable(what: str, where: object, do: str | None = None) -> UserError:
    """The error of an artifact that cannot be used."""
    do = do or "Train again, or give the model.tar.gz of a completed job, unpacked."
    return UserError(what, where=where, do=do, kind="artifact")


@contextmanager
def in_words(where: object) -> Iterator[None]:
    """Turns any exception inside into a UserError of one line: libraries raise all kinds for an untrusted file."""
    try:
        yield
    except (UserError, PlatformError):
        raise
    except OSError as error:
        raise _unreadable(error, where) from error
    except Exception as error:
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, of a GPU
            raise PlatformError(
                "not enough memory to load the artifact", where=where, do="Choose a larger instance.", kind="memory"
            ) from error
        raise unusable(f"the artifact cannot be used: {last_line(error)}", where) from error


def last_line(error: Exception) -> str:
    """What an error comes to: OpenVINO and torch say first where in their own code, and what it is at the end."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # without the path, which stands beside it
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__


def read_stored(folder: Path, name: str, *, max_bytes: int) -> bytes:
    """The whole file. Raises UserError if it is absent, unreadable, not a regular file of this folder, or too large."""
    with _opened(folder, name, max_bytes) as file:
        return file.read()


def read_as_written(folder: Path, name: str, written: FileRecord, *, max_bytes: int) -> bytes:
    """As `read_stored`. Raises UserError too where its length or its digest is another."""
    with _opened(folder, name, max_bytes, written) as file:
        content = file.read()
    _compare(hashlib.sha256(content).hexdigest(), written, folder / name)
    return content


def path_as_written(folder: Path, name: str, written: FileRecord, *, max_bytes: int) -> Path:
    """The path of a file that another library reads. Raises UserError as `read_as_written` does."""
    with _opened(folder, name, max_bytes, written) as file:
        _compare(hashlib.file_digest(file, "sha256").hexdigest(), written, folder / name)
    return folder / name


def tensor_headers(folder: Path, name: str, written: FileRecord, *, max_bytes: int) -> dict[str, TensorHeader]:
    """The header of a safetensors file; its tensors are not read and its digest is not compared.

    Raises UserError if its length differs from the manifest or its own header, as for an incomplete copy.
    """
    with _opened(folder, name, max_bytes, written) as file:
        size = os.fstat(file.fileno()).st_size
        num_bytes = int.from_bytes(file.read(8), "little")
        if size < 8 or num_bytes > min(size - 8, MAX_HEADER_BYTES):
            raise unusable("not a whole safetensors file", folder / name)
        text = file.read(num_bytes)
    try:
        fields = json_object(text)
        fields.pop("__metadata__", None)
        headers = {key: _header(value) for key, value in fields.items()}
        end = max((int(value["data_offsets"][1]) for value in fields.values()), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise unusable(
            f"not a safetensors file: its header cannot be read: {last_line(error)}", folder / name
        ) from error
    held = sum(BYTES_OF[header.dtype] * math.prod(header.shape) for header in headers.values())
    if not size - 8 - num_bytes == end == held:
        what = f"not a whole safetensors file: {size - 8 - num_bytes} bytes of tensors where its header says {held}"
        raise unusable(what, folder / name)
    return headers


def float_arrays(
    content: bytes, headers: Mapping[str, TensorHeader], *, where: object
) -> dict[str, NDArray[np.float32]]:
    """The arrays of a whole safetensors file with these `headers`, which must all be float32.

    Raises UserError for another type, and for offsets that do not fit. safetensors' own reader is not in every image.
    """
    import numpy as np  # here, since the command line reads manifests without it

    start = 8 + int.from_bytes(content[:8], "little")
    fields = json_object(content[8:start])
    arrays = {}
    for name, header in headers.items():
        begin, end = fields[name]["data_offsets"]
        if (
            header.dtype != "F32"
            or end - begin != 4 * math.prod(header.shape)
            or not 0 <= begin <= len(content) - start
        ):
            raise unusable(f"{name[:80]} is {header.dtype} {list(header.shape)}, where float32 is needed", where)
        part = np.frombuffer(content, dtype="<f4", count=math.prod(header.shape), offset=start + begin)
        arrays[name] = part.reshape(header.shape)
    return arrays


def json_object(text: bytes) -> dict[str, Any]:
    """A JSON object. Raises ValueError if it is not one, is nested too deeply, or has a name twice."""
    try:
        fields = json.loads(text, object_pairs_hook=_with_each_name_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(fields, dict):
        raise ValueError("it is not a JSON object")
    return fields


def _with_each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        twice = next(name for name, num in Counter(name for name, _ in pairs).items() if num > 1)
        raise ValueError(f"{twice[:80]!r} occurs twice in it")
    return fields


def _header(value: Any) -> TensorHeader:
    shape = tuple(value["shape"])
    if value["dtype"] not in BYTES_OF or not all(type(side) is int and 0 <= side < 2**40 for side in shape):
        raise ValueError(f"type {str(value['dtype'])[:20]!r} or shape {str(shape)[:80]} is none")
    return TensorHeader(value["dtype"], shape)


@contextmanager
def _opened(folder: Path, name: str, max_bytes: int, written: FileRecord | None = None) -> Iterator[BufferedReader]:
    path = folder / name if is_plain_name(name) else folder
    if path == folder:
        raise unusable(f"{name[:80]!r} is not the name of a file in the artifact's own folder", folder)
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise unusable("a link that leads out of the artifact's folder", path, "Put the file itself there.")
        # Without waiting: the other end of a pipe may never be opened.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise unusable("not a regular file", path, "Put the artifact's own file there.")
            if found.st_size > max_bytes:
                raise unusable(f"{found.st_size} bytes, but at most {max_bytes} are allowed", path)
            if written is not None and written.bytes not in {None, found.st_size}:
                raise unusable(f"{ALTERED}: {found.st_size} bytes, but {written.bytes} were written", path)
            yield file
    except FileNotFoundError as error:
        raise unusable("a file of the artifact is missing", path) from error
    except OSError as error:
        raise _unreadable(error, path) from error
    except RuntimeError as error:
        raise unusable("links that lead in a circle", path, "Put the file itself there.") from error


def _unreadable(error: OSError, where: object) -> LesionError:
    """The error for a file that cannot be read: the user's or the platform's, by errno."""
    what = f"the artifact cannot be read: {error.strerror or error}"
    if isinstance(error, PermissionError):
        return unusable(what, where, "Make it readable for the user that this runs as.")
    if error.errno in OF_THE_MACHINE:
        return PlatformError(what, where=where, do="Check this machine's disk, memory and limits.", kind="artifact")
    return unusable(what, where)


def _compare(sha256: str, written: FileRecord, path: Path) -> None:
    if sha256 != written.sha256:
        raise unusable(ALTERED, path)
