"""Images: bytes in, uint8 RGB pixels out. One strict decoder for training, serving and predict."""

# H, W pixels

from __future__ import annotations

import io
import struct
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from lesion.data import dicom, formats
from lesion.data.reading import MAX_PICTURE_BYTES, file_content
from lesion.errors import UserError

Pixels = NDArray[np.uint8]

SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".jp2", ".j2k", ".gif"} | dicom.SUFFIXES
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "JPEG2000", "GIF")
MAX_PIXELS = 100_000_000  # 300 MB once decoded; the largest dermoscopy and histology cameras stay below 50 million


def decode(content: bytes, *, name: object = "picture", max_pixels: int | None = None) -> Pixels:
    """One picture as uint8 RGB [H, W, 3], turned upright as its EXIF says; the first frame of several.

    16 bits keep their upper byte, transparency is laid on black, colours are brought to sRGB by the profile that comes
    with them (docs/decisions/0010). DICOM is shown as `dicom.pixels` says. `name` is what an error calls it.
    Raises UserError (kind `unreadable_image`) for anything truncated, foreign, or larger than `max_pixels`, which is
    MAX_PIXELS unless given.
    """
    max_pixels = MAX_PIXELS if max_pixels is None else max_pixels
    try:
        if dicom.is_dicom(content):
            return dicom.pixels(content, max_pixels=max_pixels)
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise _unreadable(name, f"{image.width}×{image.height} px is more than {max_pixels:,} pixels")
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return _to_rgb(image)
    except UnidentifiedImageError as error:
        raise _unreadable(name, *formats.explain(content)) from error
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
        raise _unreadable(name, f"more than {max_pixels:,} pixels") from error


def read(path: Path) -> Pixels:
    """The picture in a file, as `decode` gives it. Raises UserError that names the path."""
    return decode(file_content(path, max_bytes=MAX_PICTURE_BYTES, kind="unreadable_image"), name=path)


def header(content: bytes, *, name: object = "picture") -> dict[str, str | float]:
    """The metadata that a picture carries itself, by column name: a DICOM file's; of any other none.

    Raises UserError of kind `unreadable_image` for a header that cannot be read, whether the pixels can or not.
    """
    if not dicom.is_dicom(content):
        return {}
    try:
        return dicom.metadata(content)
    except ValueError as error:
        what, do = "the DICOM file's header cannot be read", "Replace it with a whole file."
        raise UserError(what, where=name, do=do, kind="unreadable_image") from error


def encode(image_HWC: Pixels, kind: Literal["JPEG", "PNG"], *, quality: int = 90) -> bytes:
    """The picture as a file; `quality` is JPEG's, 1 to 100.

    By Pillow and not OpenCV, whose encoders ask libavif who they are, and that is left out of the image.
    """
    file = io.BytesIO()
    Image.fromarray(image_HWC).save(file, kind, **({"quality": quality} if kind == "JPEG" else {}))
    return file.getvalue()


def _to_rgb(image: Image.Image) -> Pixels:
    if image.mode.startswith("I;16"):  # Pillow's own conversion would clip at 255, not scale
        grey_HW = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey_HW[:, :, None], 3, axis=2)
    if image.mode in {"I", "F"}:
        raise ValueError("pixels of 32 bits, signed or floating-point ones have no stated range")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", clear.size, (0, 0, 0, 255)), clear)
    if (profile := image.info.get("icc_profile")) and (to_srgb := _transform(profile, image.mode)):
        image = ImageCms.applyTransform(image, to_srgb) or image
    image = image if image.mode == "RGB" else image.convert("RGB")  # which would copy
    return np.array(image)  # a copy: writable, and independent of the file's buffer


@lru_cache(maxsize=16)  # pictures of one camera share their profile
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """How pixels with this colour profile become sRGB; None where they are, or where the profile is of no use."""
    if mode not in {"RGB", "CMYK"}:
        return None
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(own).lower():
            return None
        return ImageCms.buildTransform(own, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):  # broken, or of another colour model than the pixels
        return None


def _unreadable(name: object, why: str, do: str = "Replace it with a whole image file.") -> UserError:
    return UserError(f"not a picture that can be decoded: {why}", where=name, do=do, kind="unreadable_image")
