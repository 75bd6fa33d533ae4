"""Frames: whether a file holds more pictures than its first, which is the one that is read; which of its levels it
uses, whether it has channels that are not seen, and how large it is where it is decoded smaller.

Only the check asks, and the decoder answers, since it has the file's bytes: inside of `noting`, `note` keeps what it
is told of a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from lesion.data.decode.pieces import PiecewiseFile

MAX_READS, MAX_EXTRA_BYTES = 10_000, 2**20  # by Pillow, of headers
SUBFILE, REDUCED = 254, 1  # TIFF's tag and its bit for a smaller copy of the first page, as in a pyramid
GIF, TIFF, PNG = (b"GIF8",), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), b"\x89PNG"
DIM_LEVELS = 2**14  # of 2**16: what is stored of 14 bits or fewer, and no more, leaves a picture nearly black
WEBP_FLAGS, WEBP_ANIMATION = 20, 2  # a byte and its bit in the header of an extended WebP


@dataclass
class Noted:
    """What was noted of the files that one thread decoded."""

    has_more: bool = False
    is_dim: bool = False  # 16 bits a sample, of which only the lower ones are used
    has_more_channels: bool = False  # beside its colours and alpha
    size_px: tuple[int, int] | None = None  # height and width of the whole picture; None where nothing says it


_noted: ContextVar[Noted | None] = ContextVar("noted", default=None)


@contextmanager
def noting() -> Iterator[Noted]:
    """Inside, files that this thread decodes and that hold more frames than one are noted."""
    noted = Noted()
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)


def note(content: bytes) -> None:
    """Notes whether a file of these bytes holds more than one frame, if anybody asks."""
    noted = _noted.get()
    if noted is not None:
        noted.has_more = noted.has_more or has_more(content)


def is_asked() -> bool:
    """Whether anybody asks."""
    return _noted.get() is not None


def note_levels(most: int, bits: int) -> None:
    """Notes whether a picture whose largest sample is `most` leaves the upper levels of `bits` bits unused."""
    noted = _noted.get()
    if noted is not None and bits == 16:
        noted.is_dim = noted.is_dim or 0 < most < DIM_LEVELS


def note_channels() -> None:
    """Notes that a picture has a channel beside its colours and alpha, which is not read."""
    noted = _noted.get()
    if noted is not None:
        noted.has_more_channels = True


def note_size(width: int, height: int, *, is_turned: bool) -> None:
    """Notes the size of the whole picture, which may be decoded to fewer pixels; turned upright as it will be."""
    noted = _noted.get()
    if noted is not None:
        noted.size_px = (width, height) if is_turned else (height, width)


def has_more(content: bytes) -> bool:
    """Whether an image file holds further frames or pages: GIF, TIFF, WebP and PNG. A pyramid's levels are none."""
    if content[:4] == b"RIFF" and content[8:16] == b"WEBPVP8X":
        return bool(content[WEBP_FLAGS] & WEBP_ANIMATION)
    if content.startswith(PNG):
        before_pixels = content[: max(content.find(b"IDAT"), 0)]
        control = before_pixels.find(b"acTL")
        return control > 0 and int.from_bytes(content[control + 4 : control + 8]) > 1
    if not content.startswith((*GIF, *TIFF)):
        return False
    file = PiecewiseFile(
        content, max_reads=MAX_READS + len(content) // 256, max_bytes=4 * len(content) + MAX_EXTRA_BYTES
    )
    with suppress(Exception), Image.open(file, formats=("GIF", "TIFF")) as image:  # broken after its first frame
        if not isinstance(image, TiffImageFile):
            return bool(getattr(image, "is_animated", False))
        page = 0
        while True:
            page += 1
            image.seek(page)
            if not image.tag_v2.get(SUBFILE, 0) & REDUCED:
                return True
    return False
