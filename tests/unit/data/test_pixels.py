"""Pixels: every depth, plane layout, byte order, meaning of the samples and packing of each format is what was stored.

The files are drawn byte by byte, or written by another library, from levels that the test knows.
"""

# H, W pixels · S samples of a pixel

from __future__ import annotations

import io
import itertools
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from lesion.data.decode import images
from lesion.data.decode.frames import noting
from lesion.errors import UserError
from tiff_files import DEFLATE, NO_COMPRESSION, PACKBITS, tiff_file

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
UNSPECIFIED, ASSOCIATED, UNASSOCIATED = 0, 1, 2
HEIGHT, WIDTH = 21, 35  # no multiple of a strip, a tile or a byte


def drawn(bits: int, num_samples: int, seed: int = 0) -> np.ndarray:
    levels = np.random.default_rng(seed).integers(0, 1 << bits, (HEIGHT, WIDTH, num_samples))
    levels[0, :2] = [[0], [(1 << bits) - 1]]
    return levels


def in_8_bits(levels: np.ndarray, bits: int) -> np.ndarray:
    """The upper eight of more, and fewer spread: both ends stay black and white."""
    return levels >> (bits - 8) if bits > 8 else np.rint(levels / ((1 << bits) - 1) * 255).astype(int)


def check(content: bytes, expected: np.ndarray, tolerance: float = 0) -> None:
    image_HWC = images.decode(content)
    expected_HWS = np.broadcast_to(expected, image_HWC.shape)
    np.testing.assert_allclose(image_HWC.astype(int), expected_HWS, atol=tolerance)


def refused(content: bytes) -> str:
    with pytest.raises(UserError) as caught:
        images.decode(content, name="a.file")
    assert caught.value.kind == "unreadable_image" and "a.file" in str(caught.value)
    return str(caught.value)


# TIFF


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize(("photometric", "num_samples"), [(WHITE_IS_ZERO, 1), (BLACK_IS_ZERO, 1), (RGB, 3)])
def test_tiff_of_every_depth_meaning_order_and_layout(photometric, num_samples, bits):
    levels = drawn(bits, num_samples)
    expected = in_8_bits(levels, bits)
    expected = 255 - expected if photometric == WHITE_IS_ZERO else expected
    for order, is_big, is_planar, tile in itertools.product("<>", (False, True), (False, True), (None, (16, 32))):
        for compression in (NO_COMPRESSION, DEFLATE, PACKBITS):
            content = tiff_file(
                levels,
                bits,
                photometric=photometric,
                order=order,
                is_big=is_big,
                is_planar=is_planar and num_samples > 1,
                tile=tile,
                compression=compression,
            )
            check(content, expected, tolerance=bits < 8)


@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8, 10, 12, 14, 16])
@pytest.mark.parametrize("compression", [NO_COMPRESSION, DEFLATE])
def test_tiff_whose_bytes_are_turned(bits, compression):
    for photometric, num_samples in ((WHITE_IS_ZERO, 1), (BLACK_IS_ZERO, 1), (RGB, 3)):
        levels = drawn(bits, num_samples)
        expected = in_8_bits(levels, bits) ^ (255 * (photometric == WHITE_IS_ZERO))
        content = tiff_file(levels, bits, photometric=photometric, has_turned_bits=True, compression=compression)
        check(content, expected, tolerance=bits < 8)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("is_planar", [False, True])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_tiff_of_differences(bits, order, is_planar, tile):
    """Predictor 2, restarted in each row of a tile."""
    levels = drawn(bits, 3)
    content = tiff_file(
        levels,
        bits,
        photometric=RGB,
        order=order,
        is_planar=is_planar,
        tile=tile,
        compression=DEFLATE,
        has_differences=True,
    )
    check(content, in_8_bits(levels, bits))


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("is_planar", [False, True])
@pytest.mark.parametrize("num_colours", [1, 3])
@pytest.mark.parametrize("extra", [UNSPECIFIED, ASSOCIATED, UNASSOCIATED])
def test_tiff_with_alpha_lies_on_black(bits, is_planar, num_colours, extra):
    if (num_colours, extra) == (1, UNSPECIFIED):
        pytest.skip("no alpha, and no colour either: refused below")
    levels = drawn(bits, num_colours + 1)
    if extra == ASSOCIATED:  # the colours are multiplied with it already
        levels = np.minimum(levels, levels[:, :, -1:])
    colours, alpha = levels[:, :, :-1] / ((1 << bits) - 1), levels[:, :, -1:] / ((1 << bits) - 1)
    expected = 255 * colours * (alpha if extra == UNASSOCIATED else 1)
    photometric = BLACK_IS_ZERO if num_colours == 1 else RGB
    check(tiff_file(levels, bits, photometric=photometric, is_planar=is_planar, extras=(extra,)), expected, tolerance=2)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("is_planar", [False, True])
@pytest.mark.parametrize("extras", [(UNSPECIFIED,), (UNASSOCIATED, UNSPECIFIED), (ASSOCIATED, UNSPECIFIED), (), (2,)])
def test_tiff_of_colours_and_one_channel_more_shows_the_colours_and_notes_it(extras, is_planar, bits):
    """RGB and near infrared, say; without the tag a fourth is alpha, as libtiff has it."""
    levels = drawn(bits, 3 + max(len(extras), 1))
    alpha = levels[:, :, 3:4] / ((1 << bits) - 1) if extras in {(), (2,)} or extras[0] == UNASSOCIATED else 1
    if ASSOCIATED in extras:  # as a program that multiplies writes it
        levels[:, :, :3] = np.minimum(levels[:, :, :3], levels[:, :, 3:4])
    with noting() as noted:
        content = tiff_file(levels, bits, photometric=RGB, extras=extras, is_planar=is_planar)
        check(content, in_8_bits(levels[:, :, :3], bits) * alpha, tolerance=2)
    assert noted.has_more_channels == (UNSPECIFIED in extras)


# Samples, photometric interpretation, ExtraSamples, and what is said of them.
CHANNELS = {
    "2 grey channels, which are no colours (ExtraSamples: not stated)": (2, BLACK_IS_ZERO, ()),
    "2 grey channels, which are no colours (ExtraSamples: unspecified)": (2, WHITE_IS_ZERO, (UNSPECIFIED,)),
    "3 grey channels": (3, BLACK_IS_ZERO, (UNSPECIFIED, UNSPECIFIED)),
    "4 grey channels": (4, BLACK_IS_ZERO, (UNASSOCIATED, UNSPECIFIED, UNSPECIFIED)),
    "5 channels, of which 2 are neither": (5, RGB, (UNSPECIFIED, UNSPECIFIED)),
    "5 channels, of which 2 are neither colour nor alpha (ExtraSamples: not stated)": (5, RGB, ()),
    "6 channels, of which 2 are neither": (6, RGB, (UNASSOCIATED, UNSPECIFIED, UNSPECIFIED)),
    "alpha is not the first": (5, RGB, (UNSPECIFIED, UNASSOCIATED)),
    "6 channels, of which 2": (6, CMYK, (UNSPECIFIED, UNSPECIFIED)),
    "CMYK with transparency": (5, CMYK, (UNASSOCIATED,)),
}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("what", CHANNELS)
def test_tiff_of_channels_that_are_no_picture_is_refused_by_name(what, bits):
    """Its first three would be shown as if they were the colours."""
    num_samples, photometric, extras = CHANNELS[what]
    for is_planar, compression in itertools.product((False, True), (NO_COMPRESSION, DEFLATE)):
        content = tiff_file(
            drawn(bits, num_samples),
            bits,
            photometric=photometric,
            extras=extras,
            is_planar=is_planar,
            compression=compression,
        )
        said = refused(content)
        assert what in said and "Save" in said


@pytest.mark.parametrize("num_channels", [2, 5, 8])
@pytest.mark.parametrize("photometric", ["minisblack", "rgb"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_channels_of_another_library_are_refused(num_channels, photometric, planes):
    if photometric == "rgb" and num_channels < 3:
        pytest.skip("no RGB")
    levels = drawn(8, num_channels).astype(np.uint8)
    stored = levels if planes == "contig" else np.ascontiguousarray(levels.transpose(2, 0, 1))
    tifffile.imwrite(file := io.BytesIO(), stored, photometric=photometric, planarconfig=planes)
    assert f"{num_channels}" in refused(file.getvalue())


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("is_planar", [False, True])
def test_tiff_of_inks(bits, is_planar):
    levels = drawn(bits, 4)
    inks = levels / ((1 << bits) - 1)
    expected = 255 * (1 - inks[:, :, :3]) * (1 - inks[:, :, 3:])
    check(tiff_file(levels, bits, photometric=CMYK, is_planar=is_planar), expected, tolerance=2)
    with_more = np.dstack([levels, drawn(bits, 1, seed=1)])
    content = tiff_file(with_more, bits, photometric=CMYK, is_planar=is_planar, extras=(ASSOCIATED,))
    check(content, expected, tolerance=2)
    not_cmyk = tiff_file(levels, bits, photometric=CMYK, is_planar=is_planar, more={332: (2,)})
    assert "not cyan, magenta, yellow and black" in refused(not_cmyk)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("shift", [8, 0])
def test_tiff_of_a_palette_of_16_or_of_8_bits(bits, shift):
    """TIFF 6.0 says 16 bits; some programs fill in 0 to 255, which looked black."""
    levels = drawn(bits, 1)
    colours = np.random.default_rng(1).integers(0, 256, (3, 1 << bits))
    colours[0, 0] = 255
    content = tiff_file(levels, bits, photometric=PALETTE, more={320: tuple((colours << shift).ravel().tolist())})
    check(content, colours[:, levels[:, :, 0]].transpose(1, 2, 0))


@pytest.mark.parametrize("num_samples", [1, 3])
def test_tiff_that_does_not_say_what_its_samples_mean_is_grey_or_rgb(num_samples):
    levels = drawn(8, num_samples)
    check(tiff_file(levels, 8, photometric=None), levels)


@pytest.mark.parametrize("is_packed", [False, True])
def test_tiff_of_ycbcr_and_of_lab(is_packed):
    red = {YCBCR: (76, 85, 255), LAB: (round(53.2 * 2.55), 80, 67)}
    for photometric, samples in red.items():
        levels = np.broadcast_to(np.array(samples), (HEIGHT, WIDTH, 3))
        compression = DEFLATE if is_packed else NO_COMPRESSION
        more = {530: (1, 1)} if photometric == YCBCR else {}
        content = tiff_file(levels, 8, photometric=photometric, compression=compression, more=more)
        check(content, np.array([255, 0, 0]), tolerance=12)  # L*a*b* is of another white than sRGB


@pytest.mark.parametrize("compression", ["jpeg", "lzw", "zlib", "zstd", "lzma", "packbits"])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("bits", [8, 16])
def test_tiff_as_another_library_writes_it(compression, planes, bits):
    if (compression, bits) == ("jpeg", 16):
        pytest.skip("JPEG of 16 bits does not exist")
    levels = drawn(bits, 3).astype(f"u{bits // 8}")
    file = io.BytesIO()
    stored = levels if planes == "contig" else np.ascontiguousarray(levels.transpose(2, 0, 1))
    tifffile.imwrite(file, stored, photometric="rgb", planarconfig=planes, compression=compression, tile=(16, 32))
    read = tifffile.imread(io.BytesIO(file.getvalue()))
    expected = in_8_bits(read if planes == "contig" else read.transpose(1, 2, 0), bits)
    check(file.getvalue(), expected, tolerance=4 if compression == "jpeg" else 0)


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
def test_tiff_of_faxes(compression, photometric):
    is_white = drawn(1, 1)[:, :, 0].astype(bool)
    Image.fromarray(is_white).save(file := io.BytesIO(), "TIFF", compression=compression, tiffinfo={262: photometric})
    check(file.getvalue(), 255 * is_white[:, :, None])


@pytest.mark.parametrize("used", [9, 10, 12, 14])
def test_fewer_bits_in_16_are_spread_where_the_file_says_so_and_noted_where_it_does_not(used):
    levels = drawn(used, 1)
    stated = tiff_file(levels, 16, photometric=BLACK_IS_ZERO, more={281: ((1 << used) - 1,)})
    silent = tiff_file(levels, 16, photometric=BLACK_IS_ZERO)
    Image.fromarray(levels[:, :, 0].astype(np.uint16)).save(png := io.BytesIO(), "PNG")
    for content, is_dim in ((stated, False), (silent, True), (png.getvalue(), True)):
        with noting() as noted:
            check(content, levels >> (8 if is_dim else used - 8))
        assert noted.is_dim == is_dim
    with noting() as noted:
        images.decode(tiff_file(drawn(16, 1), 16, photometric=BLACK_IS_ZERO))
    assert not noted.is_dim


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_of_12_bits_stands_upright_and_keeps_its_colours(orientation):
    """As a TIFF of 8 bits with the same tags, which Pillow reads."""
    levels = drawn(8, 3)
    more = {274: (orientation,)}
    deep = images.decode(tiff_file(levels << 4, 12, photometric=RGB, more=more))
    np.testing.assert_array_equal(deep, images.decode(tiff_file(levels, 8, photometric=RGB, more=more)))
    assert deep.shape == ((HEIGHT, WIDTH, 3) if orientation < 5 else (WIDTH, HEIGHT, 3))


GREY = drawn(8, 1)
NOT_READ = {
    "pixels of 8 bits, signed,": (8, 1, {339: (2,)}),
    "pixels of 16 bits, floating-point,": (16, 1, {339: (3,)}),
    "transparency mask": (1, 1, {262: (4,)}),
    "colour filter": (8, 1, {262: (32803,)}),
    "ICC L*a*b*": (8, 3, {262: (9,)}),
    "palette with 16 bits": (16, 1, {262: (3,), 320: (0,) * 3}),
    "YCbCr with 16 bits": (16, 3, {262: (6,)}),
    "JPEG 2000": (8, 3, {259: (34712,)}),
    "WebP": (8, 3, {259: (50001,)}),
    "compression 12345": (8, 3, {259: (12345,)}),
    "12 bits a sample in JPEG": (12, 1, {259: (7,)}),
    "samples of 5, 6, 5 bits": (8, 3, {258: (5, 6, 5)}),
    "5 grey channels": (8, 5, {262: (1,)}),
    "2 samples a pixel": (8, 2, {262: (2,)}),
    "predictor 3": (8, 3, {317: (3,), 259: (8,), 284: (2,)}),
    "preview": (8, 3, {50706: (1,)}),
    "less colour than brightness": (8, 1, {262: (6,), 277: (3,), 258: (8, 8, 8)}),
}


@pytest.mark.parametrize("what", NOT_READ)
def test_tiff_that_cannot_be_right_is_refused_by_name_with_what_to_do(what):
    bits, num_samples, more = NOT_READ[what]
    content = tiff_file(drawn(bits, num_samples), bits, photometric=RGB if num_samples == 3 else 1, more=more)
    said = refused(content)
    assert what in said and ("Save" in said or "Convert" in said)


@pytest.mark.parametrize("bits", [10, 16])
@pytest.mark.parametrize("is_planar", [False, True])
def test_tiff_of_many_bits_asks_for_its_memory_first_and_is_refused_when_cut(bits, is_planar):
    content = tiff_file(drawn(bits, 3), bits, photometric=RGB, is_planar=is_planar)
    asked: list[int] = []
    image_HWC = images.decode(content, reserve_bytes=asked.append)
    assert len(asked) == 1 and asked[0] > 3 * image_HWC.nbytes
    with pytest.raises(UserError, match="more than 500 pixels"):
        images.decode(content, max_pixels=500)
    levels = drawn(bits, 3)
    content = tiff_file(levels, bits, photometric=RGB, is_planar=is_planar, more={273: (2**30,) * 3})
    refused(content)


# PNG

GREY_PNG, RGB_PNG, PALETTE_PNG, GREY_ALPHA_PNG, RGBA_PNG = 0, 2, 3, 4, 6
# Of each pass the first column and row, and the steps (PNG 1.2, section 2.6).
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png_file(levels: np.ndarray, bits: int, kind: int, *, is_interlaced: bool, **chunks: bytes) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    def rows(part: np.ndarray) -> bytes:
        flat = part.reshape(len(part), -1)
        packed = np.packbits(
            ((flat[:, :, None] >> np.arange(bits)[::-1]) & 1).astype(np.uint8).reshape(len(flat), -1), axis=1
        )
        return b"".join(b"\0" + row.tobytes() for row in packed)

    parts = [levels[top::down, left::across] for left, top, across, down in PASSES] if is_interlaced else [levels]
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, kind, 0, 0, is_interlaced)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", header),
            *(chunk(name.encode(), content) for name, content in chunks.items()),
            chunk(b"IDAT", zlib.compress(b"".join(rows(part) for part in parts if part.size))),
            chunk(b"IEND", b""),
        ]
    )


@pytest.mark.parametrize("is_interlaced", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_png_of_grey_and_of_a_palette_with_and_without_transparency(bits, is_interlaced):
    levels = drawn(bits, 1)
    grey, clear = in_8_bits(levels, bits), int(levels[3, 3, 0])
    check(png_file(levels, bits, GREY_PNG, is_interlaced=is_interlaced), grey)
    content = png_file(levels, bits, GREY_PNG, is_interlaced=is_interlaced, tRNS=struct.pack(">H", clear))
    check(content, np.where(levels == clear, 0, grey))
    if bits == 16:
        return
    palette = np.random.default_rng(1).integers(0, 256, (1 << bits, 4)).astype(np.uint8)
    colours, alpha = palette[:, :3], palette[:, 3]
    chunks = {"PLTE": colours.tobytes()}
    check(png_file(levels, bits, PALETTE_PNG, is_interlaced=is_interlaced, **chunks), colours[levels[:, :, 0]])
    chunks["tRNS"] = alpha.tobytes()
    content = png_file(levels, bits, PALETTE_PNG, is_interlaced=is_interlaced, **chunks)
    check(content, (colours * (alpha[:, None] / 255))[levels[:, :, 0]], tolerance=1)


@pytest.mark.parametrize("is_interlaced", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("kind", "num_samples"), [(RGB_PNG, 3), (GREY_ALPHA_PNG, 2), (RGBA_PNG, 4)])
def test_png_of_colours_and_alpha(kind, num_samples, bits, is_interlaced):
    levels = drawn(bits, num_samples)
    samples = in_8_bits(levels, bits)
    has_alpha = num_samples != 3
    expected = samples[:, :, :-1] * (samples[:, :, -1:] / 255) if has_alpha else samples
    check(png_file(levels, bits, kind, is_interlaced=is_interlaced), expected, tolerance=has_alpha)


@pytest.mark.parametrize("bits", [8, 16])
def test_png_with_one_transparent_colour_is_right_or_refused(bits):
    levels = drawn(bits, 3)
    clear = levels[4, 4]
    content = png_file(levels, bits, RGB_PNG, is_interlaced=False, tRNS=struct.pack(">3H", *clear))
    if bits == 16:
        assert "of which one is transparent" in refused(content)
    else:
        check(content, np.where((levels == clear).all(axis=2, keepdims=True), 0, levels))


# Others


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 10, 12, 16])
@pytest.mark.parametrize("num_samples", [1, 3, 4])
@pytest.mark.parametrize("kind", ["jp2", "j2k"])
def test_jpeg_2000_of_every_depth(bits, num_samples, kind):
    levels = drawn(bits, num_samples).astype(np.uint8 if bits <= 8 else np.uint16)
    content = imagecodecs.jpeg2k_encode(
        levels.squeeze(), level=0, reversible=True, bitspersample=bits, codecformat=kind, mct=False
    )
    samples = in_8_bits(levels.astype(int), bits)
    expected = samples[:, :, :3] * (samples[:, :, 3:] / 255) if num_samples == 4 else samples
    check(content, expected, tolerance=1)


def test_jpeg_of_inks():
    """Photoshop inverts them and says so by Adobe's segment; what Pillow writes has that segment too."""
    inks = np.broadcast_to(np.array([0, 200, 100, 50], np.uint8), (32, 48, 4))
    expected = [255 * (1 - ink / 255) * (1 - 50 / 255) for ink in (0, 200, 100)]
    Image.frombuffer("CMYK", (48, 32), inks.tobytes(), "raw", "CMYK", 0, 1).save(
        file := io.BytesIO(), "JPEG", quality=98
    )
    check(file.getvalue(), np.array(expected), tolerance=4)


DEEP = (drawn(12, 1)[:, :, 0]).astype(np.uint16)
JPEGS = {
    "JPEG of 12 bits": lambda: imagecodecs.jpeg8_encode(DEEP, bitspersample=12),
    "lossless JPEG": lambda: imagecodecs.ljpeg_encode(DEEP, bitspersample=12),
    "JPEG-LS": lambda: imagecodecs.jpegls_encode(DEEP),
}


@pytest.mark.parametrize("kind", JPEGS)
def test_jpeg_of_other_kinds_is_refused_by_its_name(kind):
    assert kind in refused(JPEGS[kind]())


def bmp_file(levels: np.ndarray, bits: int, *, palette: bytes = b"", masks: bytes = b"", is_upside_down: bool) -> bytes:
    flat = levels.reshape(HEIGHT, -1)
    if bits == 16:
        rows = flat.astype("<u2").view(np.uint8)
    else:
        rows = np.packbits(
            ((flat[:, :, None] >> np.arange(min(bits, 8))[::-1]) & 1).astype(np.uint8).reshape(HEIGHT, -1), axis=1
        )
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))[:: -1 if is_upside_down else 1]
    height = HEIGHT if is_upside_down else -HEIGHT
    start = 54 + len(masks) + len(palette)
    header = struct.pack(
        "<IiiHHIIiiII", 40, WIDTH, height, 1, bits, 3 if masks else 0, rows.size, 0, 0, len(palette) // 4, 0
    )
    return b"BM" + struct.pack("<IHHI", start + rows.size, 0, 0, start) + header + masks + palette + rows.tobytes()


@pytest.mark.parametrize("is_upside_down", [False, True])
def test_bmp_of_every_depth(is_upside_down):
    for bits in (1, 4, 8):
        levels, palette = drawn(bits, 1), np.random.default_rng(1).integers(0, 256, (1 << bits, 4)).astype(np.uint8)
        content = bmp_file(levels, bits, palette=palette.tobytes(), is_upside_down=is_upside_down)
        check(content, palette[:, 2::-1][levels[:, :, 0]])
    levels = drawn(16, 1)
    widths = {b"": (5, 5, 5), struct.pack("<III", 0xF800, 0x7E0, 0x1F): (5, 6, 5)}
    for masks, (red, green, blue) in widths.items():
        shifts = ((green + blue, red), (blue, green), (0, blue))
        expected = np.concatenate([in_8_bits((levels >> shift) & ((1 << bits) - 1), bits) for shift, bits in shifts], 2)
        check(bmp_file(levels, 16, masks=masks, is_upside_down=is_upside_down), expected, tolerance=1)
    for num_samples in (3, 4):
        levels = drawn(8, num_samples)
        check(bmp_file(levels, 8 * num_samples, is_upside_down=is_upside_down), levels[:, :, 2::-1])
    assert "Save it as PNG" in refused(bmp_file(drawn(2, 1), 2, palette=bytes(16), is_upside_down=is_upside_down))


def test_webp_and_gif_with_and_without_transparency():
    levels = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    levels[:, :20], levels[:, 20:] = (200, 50, 90, 255), (30, 180, 220, 128)
    Image.fromarray(levels).save(webp := io.BytesIO(), "WEBP", lossless=True)
    check(webp.getvalue(), levels[:, :, :3] * (levels[:, :, 3:] / 255), tolerance=1)
    palette = Image.fromarray(levels[:, :, :3]).quantize(4)
    palette.save(gif := io.BytesIO(), "GIF", transparency=palette.getpixel((0, 0)))
    check(
        gif.getvalue(), np.where((levels[:, :, :3] == levels[0, 0, :3]).all(axis=2, keepdims=True), 0, levels[:, :, :3])
    )
