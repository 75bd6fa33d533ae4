"""Image files: which files are images. The ending says it where it is a usual one, and else the first bytes.

A data set has hundreds of thousands of files, and opening one on a FastFile mount is a request to S3. So a file with a
usual ending is never opened here: the decoder, which goes by content alone, names it if it is no image.
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Literal

from lesion.data.decode import dicom, formats, images
from lesion.data.decode.codestreams import JP2, SOC
from lesion.data.decode.reading import COPY_AGAIN, UNREADABLE, reading, unpacked_head
from lesion.errors import UserError

Kind = Literal["DICOM", "other"]

PACKED = ".gz"
# Endings of what often lies beside each image of a set, or is no image for other reasons; such files are not opened.
NO_IMAGES = {
    ".csv", ".tsv", ".txt", ".json", ".jsonl", ".geojson", ".xml", ".xmp", ".yaml", ".yml", ".md", ".html", ".log",
    ".npy", ".npz", ".mat", ".pkl", ".pt", ".h5", ".hdf5", ".tar", ".tgz", ".zip", ".py", ".ipynb", ".manifest", ".lst",
    ".rec", ".idx", ".db", ".ini", ".nii", ".bak", ".tmp", ".part",
    # Camera RAW is TIFF inside: what a decoder of TIFF finds there is the thumbnail.
    ".arw", ".cr2", ".cr3", ".dng", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw",
}  # fmt: skip
NAMED_AS_IMAGES = {"AVIF", "HEIC", "JPEG XL", "JPEG XR", "Photoshop"}  # the decoder reads them, or says what they are
FIRST_BYTES = 4096
NUM_READERS = 16  # threads: on a FastFile mount nearly all the time is waiting
NUM_AT_ONCE = 32  # files of a thread, since a handover costs as much as a look
BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}  # bytes
TIFF = re.compile(rb"II[*+]\0|MM\0[*+]")
MEDIA_DIRECTORY = b"1.2.840.10008.1.3.10"  # SOP class of a DICOMDIR, the table of contents of a disk
# The first element of a file without preamble: its value's type, or its short length and a text.
FIRST_ELEMENT = re.compile(rb"(?:.\0.\0|\0.\0.)(?:[A-Z]{2}|[\x02-\x80]\0\0\0[\w.\\ -])", re.DOTALL)


def image_files(paths: Sequence[Path]) -> list[Path]:
    """Those of the files that are images, in their order.

    Raises UserError for a file without a usual ending that cannot be opened.
    """
    is_image = [_by_ending(path.name) for path in paths]
    doubtful = [place for place, known in enumerate(is_image) if known is None]
    for place, kind in zip(doubtful, _kinds([paths[place] for place in doubtful]), strict=True):
        is_image[place] = kind is not None
    found = [path for path, known in zip(paths, is_image, strict=True) if known]
    if not any(path.suffix.lower() == PACKED for path in found):
        return found
    present = set(paths)
    return [path for path in found if path.suffix.lower() != PACKED or path.with_suffix("") not in present]


def are_dicom(paths: Sequence[Path]) -> list[bool]:
    """Whether each image is a DICOM file: by its ending, or else by its first bytes.

    Of each ending that other images usually have, only the first file is opened, unless that is DICOM.
    """
    endings = [path.suffix.lower() for path in paths]
    firsts = {
        ending: path
        for ending, path in zip(reversed(endings), reversed(paths), strict=True)
        if ending in images.SUFFIXES
    }
    kinds = dict(zip(firsts, _kinds(list(firsts.values())), strict=True))
    plain = {ending for ending, kind in kinds.items() if kind != "DICOM"} - dicom.SUFFIXES
    are = [ending in dicom.SUFFIXES for ending in endings]
    doubtful = [place for place, ending in enumerate(endings) if ending not in plain and not are[place]]
    for place, kind in zip(doubtful, _kinds([paths[place] for place in doubtful]), strict=True):
        are[place] = kind == "DICOM"
    return are


def stem(name: str) -> str:
    """A file's name without the ending of an image, if it has one: "1.2.840.7" has none."""
    root, ending = posixpath.splitext(_unpacked(name))
    return root if ending.lower() in images.SUFFIXES else _unpacked(name)


def _unpacked(name: str) -> str:
    return name[: -len(PACKED)] if name.lower().endswith(PACKED) else name


def _by_ending(name: str) -> bool | None:
    """Whether the file is an image, as its name says; None where that says nothing."""
    root, ending = posixpath.splitext(_unpacked(name).lower())
    if root == "dicomdir":
        return False
    return True if ending in images.SUFFIXES else False if ending in NO_IMAGES else None


def _kinds(paths: Sequence[Path]) -> list[Kind | None]:
    if not paths:
        return []
    parts = [paths[start : start + NUM_AT_ONCE] for start in range(0, len(paths), NUM_AT_ONCE)]
    with ThreadPoolExecutor(min(NUM_READERS, len(parts))) as readers:
        return list(chain.from_iterable(readers.map(lambda part: [_kind(path) for path in part], parts)))


def _kind(path: Path) -> Kind | None:
    """What kind of image a file is; None if it is none, or no file that can be read without waiting."""
    try:
        with reading(path, UNREADABLE, do=COPY_AGAIN):
            status = path.stat()
    except UserError:  # a dangling link: whoever reads it is told
        return None
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        return None
    return _read_kind(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=2**20)  # a set is listed several times while it is opened
def _read_kind(path: Path, _size: int, _changed_ns: int) -> Kind | None:
    do = "Make it readable for this user, or remove it."
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    with reading(path, UNREADABLE, do=do), os.fdopen(os.open(path, flags), "rb") as file:
        return _kind_of(file.read(FIRST_BYTES))


def _kind_of(first: bytes) -> Kind | None:
    """What kind of image begins with these bytes."""
    first = unpacked_head(first, most=FIRST_BYTES)
    if dicom.is_dicom(first):
        is_plain = first[128:132] == b"DICM" or FIRST_ELEMENT.match(first)
        return "DICOM" if is_plain and MEDIA_DIRECTORY not in first else None
    is_image = (
        first.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", JP2, SOC))
        or TIFF.match(first)
        or (first[:4] == b"RIFF" and first[8:12] == b"WEBP")
        or (first[:2] == b"BM" and int.from_bytes(first[14:18], "little") in BMP_HEADERS)
        or formats.name_format(first) in NAMED_AS_IMAGES
    )
    return "other" if is_image else None
