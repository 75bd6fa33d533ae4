"""Images: the real odd files beside the project, and drawn ones for each rule, so that all of it runs without them."""

from __future__ import annotations

import csv
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lesion.data.decode import images
from lesion.errors import UserError

# Four quarters, each its own colour, wider than high: no turn or mirror of it is itself.
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
QUARTERS = np.array([[RED, GREEN], [BLUE, WHITE]], np.uint8).repeat(16, axis=0).repeat(24, axis=1)
# How a camera stored what should be seen, by EXIF orientation (EXIF 2.3, table 6): each undoes what a viewer must do.
STORED = {
    1: lambda seen: seen,
    2: lambda seen: seen[:, ::-1],
    3: lambda seen: seen[::-1, ::-1],
    4: lambda seen: seen[::-1],
    5: lambda seen: seen.transpose(1, 0, 2),
    6: lambda seen: np.rot90(seen, 1),
    7: lambda seen: seen[::-1, ::-1].transpose(1, 0, 2),
    8: lambda seen: np.rot90(seen, -1),
}


def encode(picture: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(np.ascontiguousarray(picture))
    image.save(file, kind, **options)
    return file.getvalue()


def refused(content: bytes) -> str:
    with pytest.raises(UserError) as caught:
        images.decode(content, name="a.jpg")
    assert caught.value.kind == "unreadable_image" and "a.jpg" in str(caught.value)
    return str(caught.value)


def dirty_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "dirty" / "expected.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.real
def test_every_odd_file_is_a_picture_of_its_size_or_refused_by_name(shared_data):
    rows = dirty_rows(shared_data)
    assert len(rows) == 23
    for row in rows:
        path = shared_data / "dirty" / row["file"]
        if row["readable"] == "yes":
            assert images.read(path).shape == (int(row["height"]), int(row["width"]), 3), row["file"]
        else:
            with pytest.raises(UserError, match=path.name) as caught:
                images.read(path)
            assert caught.value.kind == "unreadable_image"


@pytest.mark.real
def test_one_photograph_in_other_formats_is_the_same_photograph(shared_data):
    """Those files that README lists as made from one image agree with it in their mean colour."""
    folder = shared_data / "dirty"
    plain = images.read(folder / "UPPER and space.JPG").mean(axis=(0, 1))
    for name in ("png_inside.jpg", "trailing_garbage.jpg", "webp.webp", "jpeg2000.jp2", "palette.gif"):
        np.testing.assert_allclose(images.read(folder / name).mean(axis=(0, 1)), plain, atol=6, err_msg=name)
    # one channel: the luminance of ITU-R 601
    for name in ("grayscale.jpg", "gray16.png"):
        np.testing.assert_allclose(images.read(folder / name).mean(), plain @ [0.299, 0.587, 0.114], atol=3)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_picture_stands_upright_as_its_exif_says(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    quality = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    image_HWC = images.decode(encode(STORED[orientation](QUARTERS), kind, exif=exif, **quality))
    assert image_HWC.shape == QUARTERS.shape
    np.testing.assert_allclose(image_HWC.astype(int), QUARTERS, atol=8)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP", "GIF"])
def test_red_is_red_in_every_format(kind):
    red = np.full((9, 7, 3), RED, np.uint8)
    options = {"lossless": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(images.decode(encode(red, kind, **options)), red)


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
def test_red_is_red_after_lossy_compression(kind):
    red = np.full((9, 7, 3), RED, np.uint8)
    np.testing.assert_allclose(images.decode(encode(red, kind)).astype(int), red, atol=3)


def test_cmyk_is_converted():
    """Ink of magenta and yellow without cyan and black is red."""
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    np.testing.assert_allclose(images.decode(encode(cmyk, "JPEG")).astype(int), np.full((8, 8, 3), RED), atol=3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_level(kind):
    """Pillow's own conversion would clip nearly all of it to white."""
    grey_HW = np.random.default_rng(0).integers(0, 2**16, (40, 30), np.uint16)
    image_HWC = images.decode(encode(grey_HW, kind))
    assert image_HWC.dtype == np.uint8
    assert image_HWC.mean() == pytest.approx(grey_HW.mean() / 257, abs=1)
    np.testing.assert_array_equal(image_HWC[:, :, 0], grey_HW >> 8)


@pytest.mark.parametrize("picture", [np.array([[0, 90], [180, 255]], np.uint8), np.array([[0, 900]], np.uint16)])
def test_grey_has_three_equal_channels(picture):
    image_HWC = images.decode(encode(picture, "PNG"))
    assert image_HWC.shape == (*picture.shape, 3)
    assert (image_HWC == image_HWC[:, :, :1]).all()


def test_transparency_lies_on_black():
    clear = np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 51]]], np.uint8)
    np.testing.assert_array_equal(images.decode(encode(clear, "PNG")), [[[200, 100, 50], [0, 0, 0], [40, 20, 10]]])


def test_of_several_frames_the_first_is_taken():
    frames = [Image.new("RGB", (5, 4), colour) for colour in (RED, GREEN, BLUE)]
    content = encode(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(images.decode(content), np.full((4, 5, 3), RED))


def test_what_comes_out_can_be_written_to():
    image_HWC = images.decode(encode(QUARTERS, "PNG"))
    image_HWC[0, 0] = 7
    assert image_HWC.flags.c_contiguous


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_half_a_file_is_refused(kind):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    content = encode(noise, kind)
    assert images.decode(content).shape == (64, 64, 3)
    refused(content[: len(content) // 2])


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"no picture", b"<?xml version='1.0'?>", b"\x89PNG\r\n\x1a\n" + b"x" * 99]
)
def test_what_is_no_picture_is_refused(content):
    refused(content)


@pytest.mark.parametrize("side_px", [9_000, 10_001, 15_000, 30_000, 2**31 - 1])
def test_a_bomb_is_refused_without_being_decoded(side_px):
    """A PNG that states its size and holds no pixels: decoding it would say "truncated", not "too many"."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", side_px, side_px, 1, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    assert ("more than 100,000,000 pixels" in refused(content)) == (side_px > 10_000)


def test_other_formats_that_pillow_knows_are_not_opened():
    """Few decoders, few holes."""
    refused(encode(QUARTERS, "PPM"))
    refused(encode(QUARTERS, "ICO"))


def test_a_file_that_is_not_there_is_refused_by_its_path(tmp_path):
    with pytest.raises(UserError, match=r"No such file.*absent\.jpg"):
        images.read(tmp_path / "absent.jpg")


def camera_jpeg() -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x829A] = 6, "maker", 0.01  # orientation, make, exposure time
    return encode(QUARTERS, "JPEG", exif=exif, icc_profile=b"p" * 40)


@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(camera_jpeg()) - 1), st.integers(0, 255), st.integers(0, 3)),
        min_size=1,
        max_size=8,
    )
)
def test_damaged_bytes_give_a_picture_or_a_user_error(edits):
    """Bytes overwritten, taken out or put in; pytest turns any warning that leaks into an error."""
    content = bytearray(camera_jpeg())
    for place, byte, how in edits:
        if how == 0:
            del content[place : place + 3]
        elif how == 1:
            content[place:place] = bytes([byte])
        else:
            content[place : place + 1] = bytes([byte])
    try:
        image_HWC = images.decode(bytes(content))
    except UserError as error:
        assert error.kind == "unreadable_image"
    else:
        assert image_HWC.dtype == np.uint8 and image_HWC.ndim == 3 and image_HWC.shape[2] == 3


def test_damage_elsewhere_in_the_exif_leaves_the_picture_upright():
    """Found by mutation: a width that is text, beside an orientation, makes Pillow raise struct.error as it writes."""
    make, width = b"\x01\x0f\x00\x02", b"\x01\x00\x00\x02"  # tag 0x010F or 0x0100, of type 2, text; big-endian
    assert camera_jpeg().count(make) == 1
    damaged = images.decode(camera_jpeg().replace(make, width))
    np.testing.assert_array_equal(damaged, images.decode(camera_jpeg()))


# Colour profiles

# Colours of the primaries seen under D50, as ICC profiles hold them: Adobe RGB (1998), and sRGB (IEC 61966-2-1).
ADOBE_RGB = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])


def profile_of(primaries: np.ndarray, gamma: float, name: bytes = b"wide") -> bytes:
    """A matrix profile of ICC version 2, by hand (ICC.1:2001-04): header, table of tags, tags."""

    def fixed(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(values: np.ndarray) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(fixed, values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    words = name + b"\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(words)) + words + b"\0" * 78
    tags = {b"desc": description, b"wtpt": xyz(np.array([0.9642, 1.0, 0.8249])), b"cprt": b"text\0\0\0\0none\0"}
    tags |= {key: xyz(column) for key, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries.T, strict=True)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for key, tag in tags.items():
        table += key + struct.pack(">II", start + len(body), len(tag))
        body += tag + b"\0" * (-len(tag) % 4)
    header = struct.pack(">I4xI4s4s4s", start + len(body), 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header += struct.pack(">6H", 2001, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28
    header += fixed(0.9642) + fixed(1.0) + fixed(0.8249)
    return header.ljust(128, b"\0") + table + body


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_colours_of_another_space_are_brought_to_srgb(kind):
    """Adobe RGB by its matrix and gamma 563/256 to XYZ, from there by sRGB's own, in float64."""
    pixels = (
        np.array([[[100, 150, 60], [150, 120, 100], [90, 90, 160], [128, 128, 128]]], np.uint8)
        .repeat(8, 0)
        .repeat(8, 1)
    )
    linear = np.linalg.inv(SRGB) @ (ADOBE_RGB @ ((pixels / 255.0) ** (563 / 256))[..., None])
    linear = np.clip(linear[..., 0], 0, 1)
    expected = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    found = images.decode(encode(pixels, kind, icc_profile=profile_of(ADOBE_RGB, 563 / 256), **options))
    np.testing.assert_allclose(found, expected, atol=3)
    assert np.abs(expected - pixels).max() > 15  # the profile matters here


@pytest.mark.parametrize("profile", [b"broken", b"", profile_of(SRGB, 2.2, b"sRGB built-in")])
def test_a_broken_profile_and_srgbs_own_change_nothing(profile):
    np.testing.assert_array_equal(images.decode(encode(QUARTERS, "PNG", icc_profile=profile)), QUARTERS)


def test_a_profile_of_another_colour_model_changes_nothing():
    grey = Image.fromarray(QUARTERS).convert("L")
    content = encode(grey, "PNG", icc_profile=profile_of(ADOBE_RGB, 2.2))
    np.testing.assert_array_equal(images.decode(content)[:, :, 0], np.asarray(grey))


# Whole families of files


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bit_colour_keeps_its_upper_byte(tmp_path, order):
    import tifffile

    levels = np.random.default_rng(1).integers(0, 2**16, (20, 30, 3), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", levels, photometric="rgb", byteorder=order)
    np.testing.assert_array_equal(images.read(tmp_path / "a.tif"), levels >> 8)


@pytest.mark.parametrize("kind", ["LZW", "tiff_deflate", "packbits", "raw"])
def test_tiff_is_read_however_it_is_packed(kind):
    np.testing.assert_array_equal(images.decode(encode(QUARTERS, "TIFF", compression=kind)), QUARTERS)


def test_tiles_of_a_tiff_and_its_first_page_make_the_picture(tmp_path):
    import tifffile

    pages = np.random.default_rng(2).integers(0, 256, (3, 100, 70, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="rgb", tile=(32, 32))
    np.testing.assert_array_equal(images.read(tmp_path / "a.tif"), pages[0])


@pytest.mark.parametrize("kind", [np.float32, np.uint32, np.int32, np.int16])
def test_numbers_of_no_stated_range_are_refused_in_words(kind):
    import tifffile

    file = io.BytesIO()
    tifffile.imwrite(file, np.arange(400).reshape(20, 20).astype(kind))
    assert "no stated range" in refused(file.getvalue())
