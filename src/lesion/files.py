"""Files: folders that are there or a clear word, and names that never stand for half a file."""

from __future__ import annotations

import os
from pathlib import Path

from lesion.errors import PlatformError

PART = ".sagemaker-ignore"  # how a file that is being written is called; SageMaker does not upload it


def make_folder(path: Path) -> None:
    """Makes `path` and what is above it. Raises PlatformError where that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PlatformError(f"folder cannot be made: {error.strerror}", where=path, do="Mount it writable.") from error


def write_atomic(path: Path, content: bytes) -> None:
    """After a kill or a power cut, `path` holds the old bytes or all of the new ones."""
    part = path.with_name(path.name + PART)
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # the bytes are down before the name moves
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)  # what is left in model/ would be uploaded
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # and the name before we say so
    finally:
        os.close(folder)
