"""Packed model: an artifact as SageMaker stores it, model.tar.gz, or as its Processing jobs find it, in a folder."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lesion.artifact import MANIFEST
from lesion.errors import UserError
from lesion.files import refused, temporary_folder

PACKED = "model.tar.gz"


@contextmanager
def unpacked(place: Path) -> Iterator[Path]:
    """The folder of the artifact at `place`: itself, or a temporary one where `place` is an archive or holds one.

    Raises UserError for what is no archive, or would write outside of its folder; PlatformError where the disk refuses.
    """
    archive = place / PACKED if place.is_dir() and not (place / MANIFEST).is_file() else place
    if not archive.is_file():
        yield place  # whoever loads it says what is wrong
        return
    with temporary_folder() as folder:
        try:
            with tarfile.open(archive) as tar:
                _extract(tar, folder)
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            do = "Give the model.tar.gz of a completed job, or the folder of an artifact."
            raise UserError(f"not an archive that can be unpacked: {error}", where=archive, do=do) from error
        except OSError as error:
            raise refused(error, archive, "cannot be unpacked") from error
        yield folder


def _extract(tar: tarfile.TarFile, folder: Path) -> None:
    """Writes the archive's files below the folder. Raises TarError for links, devices and paths that lead out of it.

    Not by extractall(filter="data"): Python 3.11.2, which Debian 12 and so the image has, does not know it.
    """
    for member in tar:
        path = folder / member.name
        if not path.resolve().is_relative_to(folder.resolve()) or not (member.isfile() or member.isdir()):
            raise tarfile.TarError(f"'{member.name}' is no file inside of it")
        source = tar.extractfile(member)
        if source is not None:  # no folder
            path.parent.mkdir(parents=True, exist_ok=True)
            with source, path.open("wb") as target:
                shutil.copyfileobj(source, target)
