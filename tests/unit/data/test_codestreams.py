"""Codestreams: files of a few bytes that would hold a core or take gigabytes are refused; real ones are not."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from lesion.data.decode import images
from lesion.data.decode.codestreams import jpeg_2000_cost, jpeg_cost
from lesion.errors import UserError

SMOOTH = np.add.outer(np.arange(120), np.arange(160)).astype(np.uint8)


def encoded(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.stack([SMOOTH] * 3, axis=-1)).save(file, kind, **options)
    return file.getvalue()


def refused(content: bytes) -> str:
    with pytest.raises(UserError) as caught:
        images.decode(content)
    assert caught.value.kind == "unreadable_image"
    return str(caught.value)


def in_scans(side_px: int, num_scans: int) -> bytes:
    """A grey progressive JPEG (ITU-T T.81): one scan for the blocks' means, each of the others says nothing more."""

    def segment(marker: int, content: bytes) -> bytes:
        return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content

    num_blocks = (-(-side_px // 8)) ** 2
    assert num_blocks < 32767
    bits = "0" + format(num_blocks - 16384, "014b") if num_blocks >= 16384 else "10" * num_blocks
    bits += "1" * (-len(bits) % 8)
    empty = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")
    scan = segment(0xDA, b"\1\1\0" + bytes([1, 63, 0])) + empty
    tables = segment(0xC4, b"\0" + bytes([1] + [0] * 15) + b"\0")
    tables += segment(0xC4, b"\x10" + bytes([1, 1] + [0] * 14) + b"\xe0\0")
    frame = segment(0xC2, struct.pack(">BHHB", 8, side_px, side_px, 1) + b"\1\x11\0")
    means = segment(0xDA, b"\1\1\0\0\0\0") + bytes(-(-num_blocks // 8))
    return b"\xff\xd8" + segment(0xDB, b"\0" + b"\1" * 64) + frame + tables + means + scan * num_scans + b"\xff\xd9"


def test_a_jpeg_of_hundreds_of_scans_is_refused_and_one_of_a_few_is_read():
    assert images.decode(in_scans(64, 20)).shape == (64, 64, 3)
    assert "201 scans of 64×64 px" in refused(in_scans(64, 200))


def test_fewer_scans_are_taken_of_more_pixels():
    assert jpeg_cost(in_scans(1200, 150)).width == 1200
    large = in_scans(1200, 50).replace(struct.pack(">HH", 1200, 1200), struct.pack(">HH", 10_000, 10_000))
    assert "51 scans of 10000×10000 px" in refused(large)


def test_a_progressive_picture_keeps_its_coefficients_and_a_baseline_one_does_not():
    assert jpeg_cost(encoded("JPEG")).extra_bytes == 0
    assert jpeg_cost(encoded("JPEG", progressive=True)).extra_bytes >= 2 * SMOOTH.size * 1.5


def test_a_jpeg_of_thousands_of_segments_is_refused():
    content = encoded("JPEG")
    assert "segments" in refused(content[:2] + b"\xff\xfe\0\2" * 100_000 + content[2:])
    assert images.decode(content[:2] + b"\xff\xfe\0\2" * 500 + content[2:]).shape == (120, 160, 3)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def test_a_png_of_a_hundred_thousand_chunks_is_refused():
    content = encoded("PNG")
    assert "pieces" in refused(content[:33] + chunk(b"teXt", b"a\0b") * 100_000 + content[33:])
    start, end = content.index(b"IDAT") - 4, content.index(b"IEND") - 4
    assert "pieces" in refused(content[:start] + chunk(b"IDAT", b"") * 100_000 + content[start:end] + content[end:])
    pixels = content[start + 8 : end - 4]
    in_bytes = b"".join(chunk(b"IDAT", pixels[at : at + 1]) for at in range(len(pixels)))
    np.testing.assert_array_equal(images.decode(content[:start] + in_bytes + content[end:])[..., 0], SMOOTH)


def test_a_gif_of_a_hundred_thousand_comment_blocks_is_refused():
    content = encoded("GIF")
    frame = content.index(b"\x2c", 13 + 3 * 2 ** ((content[10] & 7) + 1))
    assert "pieces" in refused(content[:frame] + b"\x21\xfe" + b"\x01a" * 100_000 + b"\0" + content[frame:])


def test_jpeg_2000_of_tiny_tiles_many_layers_or_components_is_refused():
    content = encoded("JPEG2000", no_jp2=True)
    assert jpeg_2000_cost(content).width == 160 and images.decode(content).shape == (120, 160, 3)
    tiny = content[:24] + struct.pack(">II", 1, 1) + content[32:]
    large = tiny[:8] + struct.pack(">II", 9000, 9000) + tiny[16:]
    assert "tiles" in refused(large)
    assert "tiles" in refused(
        content[:32] + struct.pack(">II", 2**31, 2**31) + content[40:]
    )  # beginning beyond its end
    style = content.index(b"\xff\x52")
    layers = content[: style + 6] + struct.pack(">H", 60_000) + content[style + 8 :]
    assert "60000 layers" in refused(layers)
    components = content[:40] + struct.pack(">H", 16_000) + content[42:]
    assert "16000 components" in refused(components)


def test_small_code_blocks_and_precincts_cost_memory():
    usual = jpeg_2000_cost(encoded("JPEG2000")).extra_bytes
    assert jpeg_2000_cost(encoded("JPEG2000", codeblock_size=(4, 4))).extra_bytes > 5 * usual
    small = encoded("JPEG2000", precinct_size=(16, 16), codeblock_size=(16, 16))
    assert jpeg_2000_cost(small).extra_bytes > 1.3 * usual


def tiff(content: bytes, tag: int, value: int) -> bytes:
    """The file with another number of 16 or 32 bits in a tag (TIFF 6.0, section 2)."""
    at = min(found for kind in (3, 4) if (found := content.find(struct.pack("<HHI", tag, kind, 1))) >= 0)
    return content[: at + 8] + struct.pack("<I", value) + content[at + 12 :]


def test_a_tiff_of_a_huge_tile_and_one_of_a_hundred_thousand_tiny_ones_are_refused():
    import tifffile

    file = io.BytesIO()
    tifffile.imwrite(file, SMOOTH, tile=(32, 32), compression="zlib")
    assert images.decode(file.getvalue()).shape == (120, 160, 3)
    assert "tiles of 60000×60000 px" in refused(tiff(tiff(file.getvalue(), 322, 60_000), 323, 60_000))
    tifffile.imwrite(file := io.BytesIO(), np.zeros((5120, 5120), np.uint8), tile=(16, 16))
    assert "102,400 tiles" in refused(file.getvalue())
