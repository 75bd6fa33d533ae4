"""Images: bytes in, uint8 RGB pixels out. One strict decoder for training, serving and predict."""

# H, W pixels

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lesion.errors import UserError

Pixels = NDArray[np.uint8]

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".jp2", ".gif"}
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "JPEG2000", "GIF")
MAX_PIXELS = 100_000_000  # 300 MB once decoded; the largest dermoscopy and histology cameras stay below 50 million


def decode(content: bytes, *, name: object = "picture") -> Pixels:
    """One picture as uint8 RGB [H, W, 3], turned upright as its EXIF says; the first frame of several.

    16-bit grey keeps its upper byte, transparency is laid on black, CMYK is converted. `name` is what an error calls
    it.
    Raises UserError (kind `unreadable_image`) for anything truncated, foreign, or larger than MAX_PIXELS.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _unreadable(name, f"{image.width}×{image.height} px is more than {MAX_PIXELS:,} pixels")
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
    # Pillow's plugins raise many kinds on broken files; UserError is not among them.
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        IndexError,
        TypeError,
        KeyError,
        MemoryError,
        OverflowError,
        struct.error,
    ) as error:
        raise _unreadable(name, str(error) or type(error).__name__) from error
    except Image.DecompressionBombError as error:
        raise _unreadable(name, f"more than {MAX_PIXELS:,} pixels") from error


def read(path: Path) -> Pixels:
    """The picture in a file, as `decode` gives it. Raises UserError that names the path."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    return decode(content, name=path)


def _to_rgb(image: Image.Image) -> Pixels:
    if image.mode.startswith("I;16") or image.mode == "I":  # Pillow's own conversion would clip at 255, not scale
        grey_HW = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
        return np.repeat(grey_HW[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise ValueError("floating-point pixels have no stated range")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", clear.size, (0, 0, 0, 255)), clear)
    return np.array(image.convert("RGB"))  # a copy: writable, and independent of the file's buffer


def _unreadable(name: object, why: str) -> UserError:
    why = "not a picture in a known format" if "cannot identify image file" in why else why
    return UserError(
        f"not a picture that can be decoded: {why}",
        where=name,
        do="Replace it with a whole image file.",
        kind="unreadable_image",
    )
