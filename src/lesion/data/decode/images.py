"""Images: bytes in, uint8 RGB pixels out. One strict decoder for training, serving and predict."""

# H, W pixels

from __future__ import annotations

import io
import struct
import weakref
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from lesion.data.decode import dicom, formats, frames, jpeg_2000, tiff
from lesion.data.decode.codestreams import JP2, SOC, SOI, jpeg_2000_cost, jpeg_cost
from lesion.data.decode.dicom import Frame
from lesion.data.decode.memory import MAX_PIXELS, ReserveBytes, process_budget
from lesion.data.decode.pieces import PiecewiseFile
from lesion.data.decode.reading import MAX_PICTURE_BYTES, file_content
from lesion.errors import PlatformError, UserError

Pixels = NDArray[np.uint8]
FrameChoice = Literal["first", "middle", "all"]  # of several; number n // 2 of n counted from 0 is in the middle

# Endings that images usually have; `image_files` finds those that have another, or none.
SUFFIXES = {
    ".jpg", ".jpeg", ".jfif", ".jpe", ".jif", ".png", ".tif", ".tiff", ".webp", ".bmp", ".dib", ".jp2", ".j2k", ".gif",
    ".ima", *dicom.SUFFIXES,
}  # fmt: skip
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "JPEG2000", "GIF")
MAX_WAIT_S = 600  # for room in memory, outside serving
MAX_KEPT_PROFILE_BYTES = 2**21  # of a colour profile; those of printing presses take up to a MiB
MAX_HEADER_READS = 10_000  # by Pillow, of segments, chunks, tags or blocks: some hundred are usual
MAX_RUN_LENGTH_PIXELS = 4_000_000  # Pillow takes them apart in Python, a microsecond each

# Bytes of a pixel: in Pillow's memory; what its WebP plugin holds beside that; what a strip's conversions take.
STORED_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
WEBP_BYTES = 13
STRIP_PIXELS, STRIP_COPIES_BYTES = 2**20, 26
BMP_RUN_LENGTHS = {1, 2}
ORIENTATION = 274  # the tag of TIFF and EXIF
PNG_BITS = 24  # where a PNG states how many a sample has
# What a viewer does, by EXIF's orientation; where that makes rows of columns, and where the first comes last.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
TURNING = {UPRIGHT[5], UPRIGHT[6], UPRIGHT[7], UPRIGHT[8]}
REVERSING = {UPRIGHT[3], UPRIGHT[4], UPRIGHT[6], UPRIGHT[7]}


def decode(
    content: bytes,
    *,
    name: object = "picture",
    frame: Frame = "first",
    decode_px: int | None = None,
    max_pixels: int | None = None,
    reserve_bytes: ReserveBytes = lambda _: None,
) -> Pixels:
    """One picture as uint8 RGB [H, W, 3], turned upright as its EXIF says; the first frame of several, or of DICOM
    `frame`.

    16 bits keep their upper byte, transparency is laid on black, colours are brought to sRGB by the profile that comes
    with them (docs/decisions/0010). DICOM is shown as `dicom.pixels` says. `name` is what an error calls it.
    With `decode_px` a JPEG file is decoded at ½, ¼ or ⅛ of its size, the smallest at which its shorter side keeps so
    many pixels (docs/decisions/0056); anything else, and a JPEG inside of another format, comes whole.
    `reserve_bytes` is called once, before decoding, with the most memory that decoding takes, pixels included; its
    exceptions pass through.
    Raises UserError (kind `unreadable_image`) for anything truncated, foreign, or larger than `max_pixels`, which is
    MAX_PIXELS unless given.
    """
    max_pixels = MAX_PIXELS if max_pixels is None else max_pixels
    try:
        if dicom.is_dicom(content):
            return dicom.pixels(content, frame=frame, max_pixels=max_pixels, reserve_bytes=reserve_bytes)
        if tiff.is_tiff(content) and (plan := tiff.layout(content)):
            return _tiff(content, plan, name=name, max_pixels=max_pixels, reserve_bytes=reserve_bytes)
        extra_bytes = _extra_bytes(content)
        # Pillow's parser of TIFF reads a large tag, such as a colour profile, more than once.
        file = PiecewiseFile(content, max_reads=MAX_HEADER_READS, max_bytes=4 * len(content) + 2**20)
        with Image.open(file, formats=FORMATS) as image:
            _check_size(image.width, image.height, max_pixels=max_pixels, name=name)
            whole_px = (image.width, image.height)
            if decode_px is not None and isinstance(image, JpegImageFile):
                image.draft(None, (decode_px, decode_px))  # of its inverse transform: the coefficients are read anyway
            is_deep = jpeg_2000.is_other_depth(content)
            # Pillow's decoder has given its own memory back when the other one decodes.
            extra_bytes = max(extra_bytes, jpeg_2000.copies_bytes(content, num_pixels=image.width * image.height))
            reserve_bytes(_peak_bytes(image) + extra_bytes + len(content))
            file.allow(max_reads=MAX_HEADER_READS + len(content) // 256, max_bytes=4 * len(content) + 2**20)
            if isinstance(image, TiffImageFile):
                tiff.mend_palette(image)
            image.load()
            frames.note(content)
            frames.note_size(*whole_px, is_turned=UPRIGHT.get(image.getexif().get(ORIENTATION, 1)) in TURNING)
            if image.mode.startswith("I;16") and frames.is_asked():
                frames.note_levels(int(np.asarray(image).max()), bits=16)
            if is_deep:
                return _upright(jpeg_2000.pixels(content, num_pixels=image.width * image.height))
            _mend_transparency(image, content)
            return _upright(image)
    except formats.NotRead as error:
        raise _unreadable(name, str(error), error.do) from error
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
        why = str(error) or type(error).__name__
        raise _unreadable(name, why, *(("Save it as PNG.",) if why.startswith("Unsupported") else ())) from error
    except Image.DecompressionBombError as error:
        raise _unreadable(name, f"more than {max_pixels:,} pixels") from error


def decode_when_it_fits(
    content: bytes, *, name: object = "picture", frame: Frame = "first", decode_px: int | None = None
) -> Pixels:
    """As `decode`, once the process's memory has room for it: other threads decode too, or hold what they decoded.

    Raises UserError of kind `too_large` for a picture that has no room even alone.
    """
    budget, num_taken = process_budget(), 0

    def reserve_bytes(num_bytes: int) -> None:
        nonlocal num_taken
        if num_bytes > budget.limit_bytes:
            raise too_large(num_bytes, budget.limit_bytes, where=name)
        if not budget.take(num_bytes, wait_s=MAX_WAIT_S):
            what = f"no memory for another image became free within {MAX_WAIT_S} s"
            raise PlatformError(what, where=name, do="Use a machine with more memory, or fewer cores.")
        num_taken = num_bytes

    try:
        pixels_HWC = decode(content, name=name, frame=frame, decode_px=decode_px, reserve_bytes=reserve_bytes)
    except BaseException:
        budget.give_back(num_taken)
        raise
    budget.give_back(num_taken - pixels_HWC.nbytes)
    weakref.finalize(pixels_HWC, budget.give_back, pixels_HWC.nbytes)  # also when views of it have gone
    return pixels_HWC


def read(path: Path, *, frame: Frame = "first", decode_px: int | None = None) -> Pixels:
    """The picture in a file, as `decode_when_it_fits` gives it. Raises UserError that names the path."""
    content = file_content(path, max_bytes=MAX_PICTURE_BYTES, kind="unreadable_image")
    return decode_when_it_fits(content, name=path, frame=frame, decode_px=decode_px)


def frames_of(content: bytes, choice: FrameChoice, *, name: object = "picture") -> list[Frame]:
    """What `decode` is told to get the frames that `choice` names: of DICOM all or one, of any other picture one.

    Raises UserError of kind `unreadable_image` for a DICOM file that cannot be read.
    """
    if choice != "all" or not dicom.is_dicom(content):
        return ["middle" if choice == "middle" else "first"]
    try:
        count = dicom.frame_count(content)
    except ValueError as error:
        raise _unreadable(name, str(error)) from error
    if count > dicom.MAX_FRAMES:
        raise _unreadable(name, f"it states {count:,} frames, and up to {dicom.MAX_FRAMES:,} are read")
    return list(range(count))


def too_large(num_bytes: int, limit_bytes: int, *, where: object = None) -> UserError:
    """The error for a picture that needs more memory than the limit, even when no other is decoded."""
    what = f"decoding it takes {num_bytes / 2**20:,.0f} MiB of memory, but the limit is {limit_bytes / 2**20:,.0f} MiB"
    return UserError(what, where=where, do="Make it smaller, or use a machine with more memory.", kind="too_large")


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

    By Pillow and not OpenCV, whose encoders call libavif, a stub in our container image.
    """
    file = io.BytesIO()
    Image.fromarray(image_HWC).save(file, kind, **({"quality": quality} if kind == "JPEG" else {}))
    return file.getvalue()


def _tiff(content: bytes, plan: tiff.Layout, *, name: object, max_pixels: int, reserve_bytes: ReserveBytes) -> Pixels:
    """As `decode`, for the TIFF files that Pillow does not show right."""
    _check_size(plan.width, plan.height, max_pixels=max_pixels, name=name)
    pixels = plan.width * plan.height
    strip_bytes = STRIP_COPIES_BYTES * min(pixels, max(STRIP_PIXELS, plan.width))
    reserve_bytes(plan.peak_bytes(len(content)) + 3 * pixels + strip_bytes + len(content))
    image = tiff.pixels(content, plan)
    frames.note(content)
    return _upright(image)


def _check_size(width: int, height: int, *, max_pixels: int, name: object) -> None:
    if width * height > max_pixels:
        raise _unreadable(name, f"{width}×{height} px is more than {max_pixels:,} pixels")


def _extra_bytes(content: bytes) -> int:
    """Memory that decoders need beside the decoded pixels, read from the file's bytes where Pillow does not tell it.

    Raises ValueError for a file that would keep a core busy far longer than its pixels explain.
    """
    if content.startswith(SOI):
        return jpeg_cost(content).extra_bytes
    if content.startswith((SOC, JP2)):
        return jpeg_2000_cost(content).extra_bytes
    return 0


def _peak_bytes(image: Image.Image) -> int:
    """The most that decoding takes: Pillow's pixels, what its plugin holds beside them, ours, and a strip's copies."""
    pixels = image.width * image.height
    stored_bytes = pixels * STORED_BYTES.get(image.mode, 4)
    plugin_bytes = 0
    if image.format == "WEBP":
        plugin_bytes = WEBP_BYTES * pixels
    elif isinstance(image, TiffImageFile):
        plugin_bytes = tiff.part_bytes(image.tag_v2) + stored_bytes * (image.tag_v2.get(ORIENTATION, 1) != 1)
    elif image.format == "BMP" and image.info.get("compression") in BMP_RUN_LENGTHS and pixels > MAX_RUN_LENGTH_PIXELS:
        raise ValueError(f"BMP in run lengths of more than {MAX_RUN_LENGTH_PIXELS:,} pixels. Save it as PNG")
    strip_bytes = STRIP_COPIES_BYTES * min(pixels, max(STRIP_PIXELS, image.width))
    return stored_bytes + plugin_bytes + 3 * pixels + strip_bytes


def _mend_transparency(image: Image.Image, content: bytes) -> None:
    """Of a PNG in which one grey level is transparent: Pillow spreads grey of 2 or 4 bits over 0 to 255, but not it."""
    if image.format != "PNG" or "transparency" not in image.info:
        return
    bits, clear = content[PNG_BITS], image.info["transparency"]
    if image.mode == "RGB" and bits == 16:  # of which Pillow has kept the upper eight bits
        raise formats.NotRead("a PNG of 16-bit colours, of which one is transparent", "Save it without transparency.")
    if image.mode == "L" and bits < 8:
        image.info["transparency"] = clear * 255 // ((1 << bits) - 1)


def _upright(image: Image.Image) -> Pixels:
    """A loaded picture as `decode` gives it, strip by strip: whole copies in each form would take several times its
    size. Every step looks at a pixel alone, so that strips change nothing.
    """
    method = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    is_turned, is_reversed = method in TURNING, method in REVERSING
    width, height = image.size
    num_rows = max(STRIP_PIXELS // width, 1)
    if num_rows >= height:
        whole_HWC = _rgb(image if method is None else image.transpose(method))
        # A copy, made after what it is copied from: in the other order glibc gives the memory back to the kernel and
        # takes it again for each picture, 0.7 ms for 600×450 px.
        return np.array(np.broadcast_to(whole_HWC, (*whole_HWC.shape[:2], 3)))
    image_HWC = np.empty((width, height, 3) if is_turned else (height, width, 3), np.uint8)
    for top in range(0, height, num_rows):
        bottom = min(top + num_rows, height)
        strip = image.crop((0, top, width, bottom))
        strip = strip if method is None else strip.transpose(method)
        place = slice(height - bottom, height - top) if is_reversed else slice(top, bottom)
        image_HWC[(slice(None), place) if is_turned else place] = _rgb(strip)
    return image_HWC


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    """A strip as uint8 [H, W, 3], or grey as [H, W, 1]; it may not be written to."""
    if image.mode.startswith("I;16"):  # Pillow's own conversion would clip at 255, not scale
        levels_HW = np.asarray(image)
        is_clear = levels_HW == image.info.get("transparency", -1)
        return np.where(is_clear, 0, levels_HW >> 8).astype(np.uint8)[:, :, None]
    if image.mode in {"I", "F"}:
        raise ValueError("pixels of 32 bits, signed or floating-point ones have no stated range")
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", clear.size, (0, 0, 0, 255)), clear)
    if (profile := image.info.get("icc_profile")) and (to_srgb := _transform(profile, image.mode)):
        image = ImageCms.applyTransform(image, to_srgb) or image
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))  # convert would copy


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """How pixels with this colour profile become sRGB; None where they are, or where the profile is of no use."""
    if mode not in {"RGB", "CMYK"}:
        return None
    return _usual_transform(profile, mode) if len(profile) <= MAX_KEPT_PROFILE_BYTES else _new_transform(profile, mode)


@lru_cache(maxsize=8)  # pictures of one camera share their profile
def _usual_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    return _new_transform(profile, mode)


def _new_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(own).lower():
            return None
        return ImageCms.buildTransform(own, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):  # broken, or of another colour model than the pixels
        return None


def _unreadable(name: object, why: str, do: str = "Replace it with a whole image file.") -> UserError:
    return UserError(f"the image cannot be decoded: {why}", where=name, do=do, kind="unreadable_image")
