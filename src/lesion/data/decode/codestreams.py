"""Codestreams: size and decoding cost of JPEG, JPEG 2000 and JPEG XL from their headers, also inside DICOM.

A decoder obeys its file: a hundred bytes can request a pass over all pixels, or gigabytes of memory. Each function
raises ValueError for what no camera, scanner or program writes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

SOI = b"\xff\xd8"  # start of a JPEG or JPEG-LS; by chance, what follows may hold the next four bytes
SOC = b"\xff\x4f\xff\x51"  # start of a JPEG 2000 codestream, and of the segment with its size
JP2 = b"\x00\x00\x00\x0cjP  "  # start of a JPEG 2000 file, in which the codestream is one of the boxes
END = b"\xff\xd9"  # of a codestream of either kind
JXL = b"\xff\x0a"  # start of a JPEG XL codestream, by itself or in a box of a file
JXL_FILE = b"\0\0\0\x0cJXL \r\n\x87\n"
LOSSLESS, JPEG_LS = 0xC3, 0xF7
JPEG_FRAMES = {*range(0xC0, 0xD0), JPEG_LS} - {0xC4, 0xC8, 0xCC}  # markers of segments with a size: SOF0 to 15 and 55
PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
START_OF_SCAN = 0xDA
JFIF, ADOBE = 0xE0, 0xEE  # segments that say what colours there are
WITHOUT_LENGTH = {0x00, 0x01, *range(0xD0, 0xDA)}  # escaped bytes, and markers that stand alone
CODING_STYLE, COMPONENT_STYLE, START_OF_TILE, START_OF_DATA = 0xFF52, 0xFF53, 0xFF90, 0xFF93

# Photographs have 10 to 20 scans. Measured: one that says nothing takes 50 ms of 100 million pixels.
MAX_SCANS, MAX_SCANNED_PIXELS = 200, 3_000_000_000
MAX_SEGMENTS = 2_000  # before the first scan; colour profiles and long metadata make some hundred
MAX_HEADER_BYTES = 2**24
MAX_TILES, MAX_TILE_PARTS, MAX_LAYERS, MAX_COMPONENTS = 20_000, 50_000, 1_000, 4
BLOCK_BYTES, TILE_BYTES = 600, 16_384  # what OpenJPEG keeps of a code block or precinct, and of a tile, at most
JXL_PIXEL_BYTES, JXL_BYTES = 32, 2**24  # what libjxl takes of a pixel and beside them, at most
JXL_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # of width to height
JXL_SIDE_BITS = (9, 13, 18, 30)


@dataclass(frozen=True)
class Cost:
    """A codestream's size in pixels, and the bytes that decoding takes beside the pixels themselves."""

    width: int
    height: int
    extra_bytes: int
    bits: int = 8  # of a sample; not known of JPEG XL
    marker: int = 0  # of a JPEG's frame, which tells its kind
    components: int = 1

    @property
    def samples(self) -> int:
        return self.width * self.height * self.components


def jpeg_cost(content: bytes) -> Cost:
    """Of a JPEG or JPEG-LS. Where several scans refine a picture, all its coefficients are kept (ITU-T T.81)."""
    frame_marker, frame, scan, scan_at = 0, b"", b"", 0
    for marker, segment, end in _jpeg_segments(content):
        if marker in JPEG_FRAMES:
            frame_marker, frame = marker, segment
        elif marker == START_OF_SCAN:
            scan, scan_at = segment, end
    if len(frame) < 6:
        raise ValueError("a compressed frame that does not state its size")
    height, width, num_components = struct.unpack_from(">HHB", frame, 1)
    is_buffered = frame_marker in PROGRESSIVE or scan[:1] != frame[5:6]  # else one scan holds all components
    if not is_buffered or frame_marker == JPEG_LS:
        return Cost(width, height, 0, frame[0], frame_marker)
    num_scans = 1 + content.count(b"\xff\xda", scan_at)
    if num_scans > MAX_SCANS or num_scans * width * height > MAX_SCANNED_PIXELS:
        raise ValueError(f"a JPEG in {num_scans} scans of {width}×{height} px, where photographs have up to 20")
    coefficients_bytes = 2 * num_components * (width + 32) * (height + 32)  # the edges are padded to whole blocks
    return Cost(width, height, coefficients_bytes, frame[0], frame_marker)


def jpeg_colours(content: bytes) -> str | None:
    """ "RGB" or "YBR_FULL", whichever a JPEG itself says that its three components are; None if it does not say."""
    ids, adobe = b"", None
    for marker, segment, _ in _jpeg_segments(content):
        if marker == JFIF and segment.startswith(b"JFIF\0"):
            return "YBR_FULL"
        if marker == ADOBE and segment.startswith(b"Adobe") and len(segment) > 11:
            adobe = segment[11]
        if marker in JPEG_FRAMES:
            ids = segment[6::3]
    if adobe is not None:
        return "YBR_FULL" if adobe else "RGB"
    return "RGB" if ids in {b"RGB", b"rgb"} else None


def jpeg_2000_cost(content: bytes) -> Cost:
    """Of a JPEG 2000 file or codestream (ITU-T T.800, annex A): tiles, code blocks and precincts can be tiny."""
    start = _codestream_start(content)
    right, bottom, left, top, tile_width, tile_height, tiles_left, tiles_top, num_components = struct.unpack_from(
        ">8IH", content, start + 8
    )
    width, height = right - left, bottom - top
    if not (width > 0 and height > 0 and tile_width and tile_height):
        raise ValueError("a JPEG 2000 codestream of no size")
    num_tiles = -(-(right - tiles_left) // tile_width) * -(-(bottom - tiles_top) // tile_height)
    if num_components > MAX_COMPONENTS or not 0 < num_tiles <= MAX_TILES:
        raise ValueError(
            f"JPEG 2000 of {num_components} components in {num_tiles} tiles: up to 4 in 1 to 20,000 are read"
        )
    pixels = min(width, tile_width) * min(height, tile_height)  # tiles are decoded one after another
    blocks = max((_blocks(style, pixels) for style in _coding_styles(content, start + 2)), default=0)
    depths = content[start + 42 : start + 42 + 3 * num_components : 3]
    sample_bytes = 1 if max((depth & 0x7F) + 1 for depth in depths) <= 8 else 2
    # OpenJPEG decodes to 32 bits a component, and hands a tile over in 8 or 16 (measured: docs/decisions/0018).
    extra_bytes = num_components * ((4 + sample_bytes) * pixels + blocks * BLOCK_BYTES) + num_tiles * TILE_BYTES
    return Cost(width, height, extra_bytes, (content[start + 42] & 0x7F) + 1, components=num_components)


def jpeg_2000_mixes_colours(content: bytes) -> bool:
    """Whether the three components were mixed before they were compressed: a decoder then makes RGB of them."""
    start = _codestream_start(content)
    place = content.find(CODING_STYLE.to_bytes(2), start, start + MAX_HEADER_BYTES)
    return place >= 0 and content[place + 8 : place + 9] == b"\x01"


def jpeg_xl_cost(content: bytes) -> Cost:
    """Of a JPEG XL codestream, or a file that holds one (ISO/IEC 18181-1, annex D; 18181-2)."""
    start = 0 if content.startswith(JXL) else _boxed_jpeg_xl(content)
    if content[start : start + 2] != JXL:
        raise ValueError("JPEG XL without a codestream")
    bits = int.from_bytes(content[start + 2 : start + 14].ljust(12, b"\0"), "little")

    def read(count: int) -> int:
        nonlocal bits
        value, bits = bits & ((1 << count) - 1), bits >> count
        return value

    is_small = read(1)

    def side() -> int:
        return 8 * (read(5) + 1) if is_small else read(JXL_SIDE_BITS[read(2)]) + 1

    height = side()
    ratio = read(3)
    across, down = JXL_RATIOS[ratio - 1] if ratio else (0, 1)
    width = height * across // down if ratio else side()
    return Cost(width, height, JXL_PIXEL_BYTES * width * height + JXL_BYTES)


def _boxed_jpeg_xl(content: bytes) -> int:
    """Where the codestream begins in a file's boxes."""
    at = 0
    for _ in range(MAX_SEGMENTS if content.startswith(JXL_FILE) else 0):
        if at + 8 > len(content):
            break
        length, kind = struct.unpack_from(">I4s", content, at)
        if kind in {b"jxlc", b"jxlp"}:  # whole, or in parts that begin with their number
            return at + (8 if kind == b"jxlc" else 12)
        if length < 8:
            break
        at += length
    raise ValueError("JPEG XL without a codestream")


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Marker, content and end of each segment up to the first scan's header (ITU-T T.81, B.1.1; T.87, C.1.1)."""
    at = 2
    for _ in range(MAX_SEGMENTS):
        at = content.find(b"\xff", at, MAX_HEADER_BYTES) + 1  # what stands between segments is skipped
        if not at:
            return
        marker = int.from_bytes(content[at : at + 1])
        if marker == 0xFF or marker in WITHOUT_LENGTH:
            at += marker != 0xFF  # which fills, and may be the next marker's beginning
            continue
        end = at + 1 + int.from_bytes(content[at + 1 : at + 3])
        yield marker, content[at + 3 : end], end
        if marker == START_OF_SCAN:
            return
        at = max(end, at + 1)
    raise ValueError(f"a JPEG with more than {MAX_SEGMENTS:,} segments before its pixels")


def _codestream_start(content: bytes) -> int:
    if not content.startswith(JP2):
        start = content.find(SOC)
    else:
        start = -1
        at = 0
        for _ in range(MAX_SEGMENTS):
            length, kind = struct.unpack_from(">I4s", content, at)
            head = 16 if length == 1 else 8
            if kind == b"jp2c":
                start = at + head
                break
            at += max(struct.unpack_from(">Q", content, at + 8)[0] if length == 1 else length, head)
    if start < 0 or content[start : start + 4] != SOC:
        raise ValueError("JPEG 2000 without a codestream")
    return start


def _coding_styles(content: bytes, at: int) -> Iterator[bytes]:
    """The parameters of every COD and COC, of the whole picture and of its tiles: from the decomposition levels on."""
    tile_end = 0
    for _ in range(MAX_TILE_PARTS):
        if at + 4 > len(content):  # cut, or at its end
            return
        marker, length = struct.unpack_from(">HH", content, at)
        if marker == START_OF_TILE:
            (tile_length,) = struct.unpack_from(">I", content, at + 6)
            tile_end = at + tile_length if tile_length else len(content)
        elif marker == START_OF_DATA:
            at = max(tile_end, at + 2)
            continue
        elif marker == CODING_STYLE:
            (num_layers,) = struct.unpack_from(">H", content, at + 6)
            if num_layers > MAX_LAYERS:
                raise ValueError(f"JPEG 2000 of {num_layers} layers, where up to {MAX_LAYERS} are read")
            yield content[at + 4 : at + 5] + content[at + 9 : at + 2 + length]
        elif marker == COMPONENT_STYLE:
            yield content[at + 5 : at + 2 + length]
        elif marker < 0xFF00 or content.startswith(END, at):
            return
        at += 2 + length
    raise ValueError(f"JPEG 2000 of more than {MAX_TILE_PARTS:,} parts")


def _blocks(style: bytes, pixels: int) -> int:
    """How many code blocks and precincts so many pixels of one component are cut into, at most."""
    has_precincts, levels, across, down = style[0] & 1, *style[1:4]
    exponents = style[6:] if has_precincts else b"\xff"
    smallest = min((exponent & 15) + (exponent >> 4) for exponent in exponents or b"\0")
    block = 1 << min((across & 15) + (down & 15) + 4, smallest)
    # Each level halves both sides: 4/3 in all, and never less than three bands a level.
    return pixels * 4 // 3 // block + 3 * (levels + 1)
