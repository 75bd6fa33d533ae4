"""TIFF: which files Pillow shows right, and the pixels of those that it does not; what cannot be right has a name.

Pillow unpacks strips and tiles of any compression, and reads grey and colours of 8 bits. Of other depths and of planes
it reads some, some wrong and most not at all (docs/decisions/0037), so here it only unpacks bytes, and the samples are
taken out of them as TIFF 6.0 says.
"""

# H, W pixels · S samples of a pixel · R rows of a strip · A tiles across, 1 for strips · B bytes of a row of a tile

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImagePalette
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from lesion.data.decode import frames, samples
from lesion.data.decode.formats import NotRead, explain, name_format
from lesion.data.decode.memory import MAX_PIXELS
from lesion.data.decode.pieces import PiecewiseFile
from lesion.data.decode.tiff_channels import (
    BLACK_IS_ZERO,
    CMYK,
    LAB,
    NUM_COLOURS,
    PALETTE,
    RGB,
    WHITE_IS_ZERO,
    YCBCR,
    has_alpha,
)

Tags = Mapping[int, Any]

BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
BIG_ENDIAN_BIGTIFF = b"MM\0+"
MAX_READS, MAX_EXTRA_BYTES = 10_000, 2**20  # of tags
MAX_PARTS = 100_000
MAX_MARGIN_PIXELS = 2**26  # unpacked beyond the picture itself: four tiles of 4,096 px
STRIP_SAMPLES, STRIP_SAMPLE_BYTES = 2**18, 40  # taken out at a time, and what one takes meanwhile

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
FILL_ORDER, STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES = 266, 273, 274, 277, 278, 279
MAX_SAMPLE_VALUE, PLANES, PREDICTOR, COLOUR_MAP = 281, 284, 317, 320
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES = 322, 323, 324, 325
SUB_PAGES, INK_SET, EXTRA_SAMPLES, SAMPLE_FORMAT, PROFILE, DNG_VERSION = 330, 332, 338, 339, 34675, 50706

NO_COMPRESSION = 1
BYTE_COMPRESSIONS = {NO_COMPRESSION, 5, 8, 32773, 32946, 34925, 50000}  # LZW, deflate, PackBits, LZMA, Zstandard
PREDICTING, DIFFERENCES = BYTE_COMPRESSIONS - {NO_COMPRESSION, 32773}, 2
FAX, OLD_JPEG, JPEG = {2, 3, 4}, 6, 7
OTHER_COMPRESSIONS = {
    32809: "ThunderScan",
    33003: "JPEG 2000",
    33004: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    34676: "SGI's logarithms",
    34677: "SGI's logarithms",
    34887: "LERC",
    34933: "PNG",
    34934: "JPEG XR",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
COLOURS = {WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK}  # of which samples are taken out here
OTHER_PHOTOMETRICS = {
    4: "a transparency mask",
    9: "ICC L*a*b*",
    10: "ITU L*a*b*",
    32803: "a colour filter, as camera RAW has",
    32844: "logarithms of luminance",
    32845: "logarithms of luminance",
    34892: "linear camera RAW",
}
SIGNED_AND_OTHERS = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}
SAVE_PLAIN = "Save it as grey or RGB of 8 or 16 bits without a sign, uncompressed or with LZW or deflate."


@dataclass(frozen=True)
class Layout:
    """Where the samples of a TIFF lie, for one that Pillow does not show right."""

    tags: Tags
    width: int
    height: int
    bits: int  # that a sample takes, 1 to 16
    depth: int  # that it uses
    num_samples: int
    num_shown: int  # colours, and alpha where it is to be applied
    photometric: int
    is_planar: bool
    has_differences: bool  # each sample is the difference to its left neighbour's
    is_big_endian: bool
    part_width: int  # pixels of a tile's row, or of a strip's
    part_bytes: int

    @property
    def samples_together(self) -> int:
        """Samples that stand side by side: a pixel's, or one of a plane."""
        return 1 if self.is_planar else self.num_samples

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of one tile or strip; each begins with a whole byte."""
        return -(-self.part_width * self.samples_together * self.bits // 8)

    @property
    def num_across(self) -> int:
        """How many tiles lie side by side."""
        return -(-self.width // self.part_width)

    def peak_bytes(self, content_bytes: int) -> int:
        """The most memory that `pixels` takes, what it returns included."""
        num_pixels = self.width * self.height
        strip_samples = max(STRIP_SAMPLES, self.num_across * self.part_width * self.samples_together)
        unpacked_bytes = self.height * self.num_across * self.row_bytes
        return (
            content_bytes
            + self.part_bytes
            + unpacked_bytes
            + (4 + 2 * self.num_shown) * num_pixels
            + STRIP_SAMPLE_BYTES * strip_samples
        )


def is_tiff(content: bytes) -> bool:
    """Whether a file begins as TIFF or BigTIFF does."""
    return content.startswith(BEGINNINGS)


def layout(content: bytes) -> Layout | None:
    """How the first page's samples lie; None where Pillow reads them right.

    Raises NotRead for what cannot be shown as its maker meant, ValueError and others for a broken file.
    """
    if name_format(content) is not None:  # camera RAW that begins as TIFF
        raise NotRead(*explain(content))
    tags = _read_tags(content)
    compression, photometric = _whole(tags, COMPRESSION, 1), _photometric(tags)
    bits, num_samples = _bits_and_samples(tags, photometric)
    _refuse_other_kinds(tags, compression, photometric, bits)
    extras = _numbers(tags, EXTRA_SAMPLES, ())
    is_alpha_left = has_alpha(photometric, num_samples, extras)
    is_own = photometric in COLOURS and compression in BYTE_COMPRESSIONS
    if not is_own and content.startswith(BIG_ENDIAN_BIGTIFF):
        raise NotRead("a big-endian BigTIFF in colours or a compression that is not read from one", SAVE_PLAIN)
    if not is_own:
        return None
    num_colours, is_planar = NUM_COLOURS[photometric], _whole(tags, PLANES, 1) == 2
    if num_samples < num_colours:
        raise NotRead(f"a TIFF of {num_samples} samples a pixel, where its colours take {num_colours}", SAVE_PLAIN)
    is_plain = PHOTOMETRIC in tags and not content.startswith(BIG_ENDIAN_BIGTIFF) and _whole(tags, FILL_ORDER, 1) == 1
    has_known_extra = len(extras) <= num_samples - num_colours <= (photometric == RGB)
    if is_plain and not is_planar and bits == 8 and has_known_extra:
        return None
    if is_plain and bits in {1, 2, 4, 8} and num_samples == 1:
        return None
    predictor = _whole(tags, PREDICTOR, 1) if compression in PREDICTING else 1
    if predictor not in {1, DIFFERENCES} or (predictor == DIFFERENCES and bits not in {8, 16}):
        raise NotRead(f"a TIFF of {bits} bits a sample with predictor {predictor}", SAVE_PLAIN)
    width, height = _whole(tags, WIDTH), _whole(tags, HEIGHT)
    if width < 1 or height < 1:
        raise ValueError(f"a TIFF of {width}×{height} px")
    return Layout(
        tags=tags,
        width=width,
        height=height,
        bits=bits,
        depth=_depth(tags, bits),
        num_samples=num_samples,
        num_shown=num_colours + is_alpha_left,
        photometric=photometric,
        is_planar=is_planar,
        has_differences=predictor == DIFFERENCES,
        is_big_endian=content.startswith(b"MM"),
        part_width=_whole(tags, TILE_WIDTH, width),
        part_bytes=part_bytes(tags),
    )


def pixels(content: bytes, plan: Layout) -> Image.Image:
    """The picture in 8 bits, L, LA, RGB, RGBA or CMYK, with its profile and its orientation yet to be applied.

    More bits keep the upper eight of those used, fewer are spread over all of 0 to 255.
    """
    shown_HWS = np.empty((plan.height, plan.width, plan.num_shown), np.uint8)
    most = 0
    for plane in range(plan.num_shown if plan.is_planar else 1):
        packed = _unpack_plane(content, plan, plane)
        num_rows = max(STRIP_SAMPLES // (packed.width * 8 // plan.bits), 1)
        for top in range(0, plan.height, num_rows):
            bottom = min(top + num_rows, plan.height)
            rows_RB = np.asarray(packed.crop((0, top, packed.width, bottom)))
            levels_RWS = _levels(rows_RB, plan)
            levels_RWS = levels_RWS if plan.is_planar else levels_RWS[:, :, : plan.num_shown]
            if frames.is_asked():
                most = max(most, int(levels_RWS.max()))
            place = slice(plane, plane + 1) if plan.is_planar else slice(None)
            shown_HWS[top:bottom, :, place] = samples.eight_bits(levels_RWS, plan.depth)
    if plan.bits == plan.depth:
        frames.note_levels(most, plan.bits)
    if plan.photometric == WHITE_IS_ZERO:
        np.subtract(255, shown_HWS[:, :, 0], out=shown_HWS[:, :, 0])
    image = samples.picture(shown_HWS, "CMYK" if plan.photometric == CMYK else None)
    if PROFILE in plan.tags:
        image.info["icc_profile"] = plan.tags[PROFILE]
    image.getexif()[ORIENTATION] = _whole(plan.tags, ORIENTATION, 1)
    return image


def mend_palette(image: TiffImageFile) -> None:
    """Reads a palette of 8-bit colours as that: its numbers have 16 bits, but some programs fill in 0 to 255."""
    colours = image.tag_v2.get(COLOUR_MAP, ())
    if image.mode in {"P", "PA"} and colours and max(colours) < 256:
        image.palette = ImagePalette.raw("RGB;L", bytes(colours))


def part_bytes(tags: Tags) -> int:
    """The memory of one decoded tile or strip. Raises ValueError for far too many of them."""
    is_tiled = TILE_WIDTH in tags
    image_width, image_height = _whole(tags, WIDTH), _whole(tags, HEIGHT)
    width, height = image_width, min(_whole(tags, ROWS_PER_STRIP, image_height), image_height)
    if is_tiled:
        width, height = _whole(tags, TILE_WIDTH), _whole(tags, TILE_HEIGHT, 1)
    if width < 1 or height < 1:
        raise ValueError(f"a TIFF in tiles or strips of {width}×{height} px")
    num_parts = len(tags.get(TILE_OFFSETS if is_tiled else STRIP_OFFSETS, ()))
    if num_parts > MAX_PARTS:
        raise ValueError(f"a TIFF in {num_parts:,} tiles or strips, where up to {MAX_PARTS:,} are read")
    # Tiles are unpacked whole, however little of them lies within the picture.
    unpacked_pixels = -(-image_width // width) * width * -(-image_height // height) * height
    if unpacked_pixels > 4 * image_width * image_height + MAX_MARGIN_PIXELS:
        raise ValueError(f"a TIFF of {image_width}×{image_height} px in tiles of {width}×{height} px")
    bits = sum(_numbers(tags, BITS, (1,))) or 1
    num_bytes = width * height * max(-(-bits // 8), 4)  # JPEG's colours are converted to four bytes a pixel
    if not 0 < num_bytes <= 8 * MAX_PIXELS:
        raise ValueError(f"a TIFF in tiles of {width}×{height} px")
    return num_bytes


def _read_tags(content: bytes) -> Tags:
    file = PiecewiseFile(content, max_reads=MAX_READS, max_bytes=4 * len(content) + MAX_EXTRA_BYTES)
    is_big = b"+" in content[:4]
    beginning = content[: 16 if is_big else 8]
    # Pillow looks for BigTIFF's number, 43, in the third byte, where big-endian files have a zero.
    tags = (
        ImageFileDirectory_v2(b"II+\0" + beginning[4:], prefix=content[:2])
        if is_big
        else ImageFileDirectory_v2(beginning)
    )
    file.seek(tags.next)
    tags.load(file)
    return dict(tags)


def _numbers(tags: Tags, tag: int, default: tuple[int, ...]) -> tuple[int, ...]:
    value = tags.get(tag, default)
    values = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(number, int) for number in values):
        raise ValueError(f"a TIFF whose tag {tag} holds no whole numbers")
    return values


def _whole(tags: Tags, tag: int, default: int | None = None) -> int:
    values = _numbers(tags, tag, () if default is None else (default,))
    if not values:
        raise ValueError(f"a TIFF without tag {tag}")
    return values[0]


def _photometric(tags: Tags) -> int:
    """As the tag says; without it, as libtiff guesses from the number of samples."""
    if PHOTOMETRIC in tags or _whole(tags, COMPRESSION, 1) not in BYTE_COMPRESSIONS:
        return _whole(tags, PHOTOMETRIC, WHITE_IS_ZERO)
    return RGB if _whole(tags, SAMPLES, 1) in {3, 4} else BLACK_IS_ZERO


def _bits_and_samples(tags: Tags, photometric: int) -> tuple[int, int]:
    bits_S = _numbers(tags, BITS, (1,))
    num_samples = _whole(tags, SAMPLES, 3 if photometric == YCBCR else 1)
    if len(set(bits_S[:num_samples])) > 1:
        raise NotRead(f"a TIFF with samples of {', '.join(map(str, bits_S[:6]))} bits", SAVE_PLAIN)
    if not 1 <= num_samples <= 32:
        raise NotRead(f"a TIFF of {num_samples} samples a pixel", SAVE_PLAIN)
    return (bits_S or (1,))[0], num_samples


def _refuse_other_kinds(tags: Tags, compression: int, photometric: int, bits: int) -> None:
    kinds = [SIGNED_AND_OTHERS[form] for form in _numbers(tags, SAMPLE_FORMAT, (1,)) if form in SIGNED_AND_OTHERS]
    if kinds or not 1 <= bits <= 16:
        what = f"pixels of {bits} bits" + (f", {kinds[0]}," if kinds else "")
        raise NotRead(f"{what} have no stated range", "Choose the levels that are black and white. " + SAVE_PLAIN)
    if DNG_VERSION in tags or (_whole(tags, SUBFILE, 0) & 1 and SUB_PAGES in tags):
        raise NotRead(
            "the first page is a small preview, as camera RAW has", "Convert it with the camera's own program."
        )
    if photometric not in {*COLOURS, PALETTE, YCBCR, LAB}:
        name = OTHER_PHOTOMETRICS.get(photometric, "an unknown one")
        raise NotRead(f"a TIFF of photometric interpretation {photometric} ({name})", SAVE_PLAIN)
    if compression not in {*BYTE_COMPRESSIONS, *FAX, OLD_JPEG, JPEG}:
        name = OTHER_COMPRESSIONS.get(compression, "an unknown one")
        raise NotRead(f"a TIFF of compression {compression} ({name})", SAVE_PLAIN)
    if bits != (1 if compression in FAX else 8) and compression not in BYTE_COMPRESSIONS:
        raise NotRead(f"a TIFF of {bits} bits a sample in {'fax' if compression in FAX else 'JPEG'}", SAVE_PLAIN)
    if photometric == CMYK and _whole(tags, INK_SET, 1) != 1:
        raise NotRead("a TIFF in inks that are not cyan, magenta, yellow and black", SAVE_PLAIN)
    if photometric in {PALETTE, YCBCR, LAB} and bits > 8:
        name = {PALETTE: "a palette", YCBCR: "YCbCr", LAB: "L*a*b*"}[photometric]
        raise NotRead(f"a TIFF of {name} with {bits} bits a sample", SAVE_PLAIN)
    packed_bytes = sum(_numbers(tags, STRIP_BYTES, ())) or sum(_numbers(tags, TILE_BYTES, ()))
    is_short = packed_bytes < 3 * _whole(tags, WIDTH) * _whole(tags, HEIGHT)
    if photometric == YCBCR and compression == NO_COMPRESSION and packed_bytes and is_short:
        raise NotRead("a TIFF of YCbCr with less colour than brightness, uncompressed", SAVE_PLAIN)


def _depth(tags: Tags, bits: int) -> int:
    """Bits that are used: fewer than stored where the largest value is stated as that of 9 to 15 bits."""
    stated = max(_numbers(tags, MAX_SAMPLE_VALUE, (0,)), default=0)
    used = stated.bit_length()
    return used if 8 < used < bits and stated == (1 << used) - 1 else bits


def _unpack_plane(content: bytes, plan: Layout, plane: int) -> Image.Image:
    """The bytes of all rows of one plane, or of all planes together, as a grey picture of one byte a pixel.

    Pillow is given the same file with other tags: a row of bytes is a row of 8-bit grey, whatever they mean.
    """
    is_tiled = TILE_WIDTH in plan.tags
    offsets = _numbers(plan.tags, TILE_OFFSETS if is_tiled else STRIP_OFFSETS, ())
    lengths = _numbers(plan.tags, TILE_BYTES if is_tiled else STRIP_BYTES, ())
    rows = _whole(plan.tags, TILE_HEIGHT if is_tiled else ROWS_PER_STRIP, plan.height)
    part_height = rows if is_tiled else min(rows, plan.height)
    num_parts = plan.num_across * -(-plan.height // part_height)
    parts = slice(plane * num_parts, (plane + 1) * num_parts)
    if len(offsets[parts]) < num_parts:
        raise ValueError(f"a TIFF of {len(offsets)} tiles or strips where its size needs more")
    entries = {
        WIDTH: (plan.num_across * plan.row_bytes,),
        HEIGHT: (plan.height,),
        BITS: (8,),
        COMPRESSION: (_whole(plan.tags, COMPRESSION, 1),),
        PHOTOMETRIC: (BLACK_IS_ZERO,),
        FILL_ORDER: (_whole(plan.tags, FILL_ORDER, 1),),
        SAMPLES: (1,),
        TILE_OFFSETS if is_tiled else STRIP_OFFSETS: offsets[parts],
        TILE_BYTES if is_tiled else STRIP_BYTES: lengths[parts],
        TILE_HEIGHT if is_tiled else ROWS_PER_STRIP: (part_height,),
    }
    if is_tiled:
        entries[TILE_WIDTH] = (plan.row_bytes,)
    start = len(content) + len(content) % 2
    head = b"II*\0" + struct.pack("<I", start)
    image = TiffImageFile(io.BytesIO(b"".join((head, content[8:].ljust(start - 8, b"\0"), _directory(entries, start)))))
    # Pillow would count bytes as pixels, and refuse as too many what is not: `images` has checked their number.
    image.im = Image.new("L", image.size).im
    image.load()
    return image


def _directory(entries: Mapping[int, tuple[int, ...]], start: int) -> bytes:
    """A little-endian directory of tags of 32-bit numbers, to stand at `start` of a file (TIFF 6.0, section 2)."""
    entries = {tag: values for tag, values in entries.items() if values}
    table, beyond = struct.pack("<H", len(entries)), b""
    beyond_at = start + 2 + 12 * len(entries) + 4
    for tag, values in sorted(entries.items()):
        packed = struct.pack(f"<{len(values)}I", *values)
        table += struct.pack("<HHI", tag, 4, len(values))
        table += packed if len(values) == 1 else struct.pack("<I", beyond_at + len(beyond))
        beyond += packed if len(values) > 1 else b""
    return table + bytes(4) + beyond


def _levels(rows_RB: NDArray[np.uint8], plan: Layout) -> NDArray[Any]:
    """Samples of rows of bytes, uint8 or uint16 [R, W, S]."""
    num_rows, num_across, values = len(rows_RB), plan.num_across, plan.part_width * plan.samples_together
    rows_RAB = rows_RB.reshape(num_rows, num_across, plan.row_bytes)
    levels: NDArray[Any] = rows_RAB
    if plan.bits == 16:
        order: Literal[">u2", "<u2"] = ">u2" if plan.is_big_endian else "<u2"
        levels = np.ascontiguousarray(rows_RAB).view(order).astype(np.uint16)
    elif plan.bits != 8:  # packed without gaps, the highest bit first, in either byte order
        bits = np.unpackbits(rows_RAB, axis=2, count=values * plan.bits)
        weights = (1 << np.arange(plan.bits)[::-1]).astype(np.uint16)
        levels = bits.reshape(num_rows, num_across, values, plan.bits) @ weights
    levels = levels.reshape(num_rows, num_across, plan.part_width, plan.samples_together)
    if plan.has_differences:
        levels = np.cumsum(levels, axis=2, dtype=levels.dtype)
    return levels.reshape(num_rows, -1, plan.samples_together)[:, : plan.width]
