"""Files: written so that a name never stands for half a file."""

from __future__ import annotations

import os
from pathlib import Path


def write_atomic(path: Path, content: bytes) -> None:
    """After a kill or a power cut, `path` holds the old bytes or all of the new ones."""
    part = path.with_name(path.name + ".sagemaker-ignore")  # the name that SageMaker does not upload
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
