"""Slides: what a window shows, at which resolution, and which file is meant."""

# H, W pixels

from __future__ import annotations

import os
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from lesion.data.decode import images
from lesion.errors import UserError
from lesion.prepare.slides import (
    Resolution,
    Slide,
    SlideFile,
    Stated,
    find_slides,
    pick_slide,
    read_stated,
    usual_resolution,
)
from lesion.prepare.tiles import grid
from slides import APERIO, draw_slide, pyramid, write_slide

RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)


def plain(width: int, height: int, colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


# Windows


@pytest.mark.parametrize(
    ("downsample", "colour"), [(1, RED), (1.9, RED), (1.995, GREEN), (2, GREEN), (3.5, GREEN), (4, BLUE), (30, BLUE)]
)
def test_a_window_is_read_from_the_coarsest_level_that_is_fine_enough(tmp_path, downsample, colour):
    levels = [plain(1024, 768, RED), plain(512, 384, GREEN), plain(256, 192, BLUE)]
    with Slide(write_slide(tmp_path / "a.tif", levels)) as slide:
        window_HWC = slide.read(64, 64, 20, 10, downsample=downsample)
    assert window_HWC.shape == (10, 20, 3)
    assert (window_HWC == colour).all()


@pytest.mark.parametrize("ending", ["tif", "png"])
def test_a_window_is_the_mean_of_what_it_covers(tmp_path, ending):
    image_HWC = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    path = tmp_path / f"a.{ending}"
    write_slide(path, [image_HWC]) if ending == "tif" else Image.fromarray(image_HWC).save(path)
    with Slide(path) as slide:
        window_HWC = slide.read(40, 20, 50, 25, downsample=4)
        assert (slide.width_px, slide.height_px) == (400, 300)
    means_HWC = image_HWC[20:120, 40:240].reshape(25, 4, 50, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(window_HWC, means_HWC, atol=0.51)


def test_beyond_the_edge_there_is_white(tmp_path):
    with Slide(write_slide(tmp_path / "a.tif", [plain(300, 300, RED)])) as slide:
        window_HWC = slide.read(290, 0, 20, 20, downsample=1)
    assert (window_HWC[:, :10] == RED).all() and (window_HWC[:, 10:] == 255).all()


def test_colours_are_brought_to_srgb_by_the_slides_profile(tmp_path):
    """A profile that has red and green change places: made of the library's own by exchanging two tags."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"____").replace(b"gXYZ", b"rXYZ").replace(b"____", b"gXYZ")
    profile = profile.replace("sRGB".encode("utf-16-be"), "odd!".encode("utf-16-be"))
    with Slide(write_slide(tmp_path / "a.tif", [plain(300, 300, (200, 40, 60))], profile=profile)) as slide:
        pixel = slide.read(10, 10, 4, 4, downsample=1)[0, 0]
    np.testing.assert_allclose(pixel, (40, 200, 60), atol=2)


def test_a_broken_profile_changes_nothing(tmp_path):
    with Slide(write_slide(tmp_path / "a.tif", [plain(300, 300, RED)], profile=b"p" * 40)) as slide:
        assert (slide.read(10, 10, 4, 4, downsample=1) == RED).all()


def test_a_plain_picture_is_decoded_as_everywhere(tmp_path):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(draw_slide(80, 60, [(20, 20, 15)])).save(path, exif=exif)
    with Slide(path) as slide:
        assert (slide.width_px, slide.height_px) == (60, 80)
        np.testing.assert_array_equal(slide.read(0, 0, 60, 80, downsample=1), images.read(path))


def test_windows_are_the_same_for_many_threads(tmp_path):
    image_HWC = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    corners = [(x, y) for x in range(0, 500, 50) for y in range(0, 500, 50)]
    with Slide(write_slide(tmp_path / "a.tif", pyramid(image_HWC))) as slide, ThreadPoolExecutor(8) as pool:
        windows = list(pool.map(lambda corner: slide.read(*corner, 12, 12, downsample=1), corners))
    for (x, y), window_HWC in zip(corners, windows, strict=True):
        np.testing.assert_array_equal(window_HWC, image_HWC[y : y + 12, x : x + 12])


# Files that are no slides


@pytest.mark.parametrize("name", ["a.svs", "a.tif", "a.jpg"])
@pytest.mark.parametrize("content", [b"", b"not a slide", b"II*\0" + b"\xff" * 60])
def test_what_is_no_slide_is_told_by_name(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    for opening in (read_stated, Slide):
        with pytest.raises(UserError, match=f"the slide cannot be read.*{name}"):
            opening(path)


def test_a_slide_that_breaks_off_is_told_with_the_place(tmp_path):
    image_HWC = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    path = write_slide(tmp_path / "a.tif", [image_HWC])
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)
    with Slide(path) as slide, pytest.raises(UserError, match=r"broken at x=768, y=768.*a\.tif"):
        slide.read(768, 768, 200, 200, downsample=1)


def test_a_plain_picture_too_large_to_decode_is_to_be_converted(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 1000)
    Image.fromarray(plain(40, 30, RED)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"more than 1,000 pixels.*vips tiffsave"):
        Slide(tmp_path / "a.png")


def claiming(path: Path, **tags: int) -> Path:
    """A slide of one tile whose tags say otherwise."""
    numbers = {"width": 256, "height": 257, "tile_width": 322, "tile_height": 323}
    write_slide(path, [plain(256, 256, RED)])
    content = path.read_bytes()
    for name, value in tags.items():
        for kind in (3, 4):  # 16 bits, 32 bits
            entry = struct.pack("<HHI", numbers[name], kind, 1)
            if (at := content.find(entry)) >= 0:
                content = content[:at] + struct.pack("<HHII", numbers[name], 4, 1, value) + content[at + 12 :]
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "tags",
    [
        {"width": 2**31 - 1, "height": 2**31 - 1},
        {"width": 1_000_001},
        {"width": 900_000, "height": 900_000},
        {"tile_width": 65536, "tile_height": 65536},
    ],
    ids=str,
)
def test_a_slide_of_absurd_size_is_refused_before_it_is_read(tmp_path, tags):
    path = claiming(tmp_path / "a.svs", **tags)
    for opening in (read_stated, Slide):
        with pytest.raises(UserError, match=r"the slide cannot be read: .*a\.svs"):
            opening(path)


def test_a_window_of_more_pixels_than_a_picture_may_have_is_refused(tmp_path):
    path = write_slide(tmp_path / "a.tif", [plain(256, 256, RED)])
    with Slide(path) as slide, pytest.raises(UserError, match=r"100,000×100,000 px to read.*--magnification"):
        slide.read(0, 0, 100, 100, downsample=1000)


def test_a_slide_is_cut_into_so_many_tiles_and_no_more():
    with pytest.raises(UserError, match="1,000,000×1,000,000 tiles of one slide, more than 10,000,000"):
        grid(1_000_000, 1_000_000, extent_px=1, step_px=1)


@pytest.mark.parametrize("name", ["a.svs", "a.jpg"])
def test_a_pipe_is_never_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    for opening in (read_stated, Slide):
        with pytest.raises(UserError, match="a pipe and not a file"):
            opening(tmp_path / name)


# Resolution


def test_what_slides_state_of_themselves(tmp_path):
    image_HWC = plain(300, 300, RED)
    cases = {
        "plain.tif": ({}, Stated()),
        "measured.tif": ({"mpp": 0.25}, Stated(mpp=0.25)),
        "72dpi.tif": ({"mpp": 25400 / 72}, Stated()),
        "aperio.svs": ({"aperio": APERIO.format(40, 0.2525)}, Stated(40, 0.2525)),
        "shy.svs": ({"aperio": APERIO.format("?", "-1")}, Stated()),
    }
    for name, (options, expected) in cases.items():
        assert read_stated(write_slide(tmp_path / name, [image_HWC], **options)) == expected, name
    Image.fromarray(image_HWC).save(tmp_path / "a.png")
    assert read_stated(tmp_path / "a.png") == Stated()


@pytest.mark.parametrize(
    ("resolution", "stated", "expected"),
    [
        (Resolution("magnification", 20), Stated(40, 0.2525), 2),
        (Resolution("magnification", 20), Stated(mpp=0.25), 2),  # 20× is 0.5 µm a pixel
        (Resolution("mpp", 1), Stated(40, 0.25), 4),
        (Resolution("mpp", 0.5), Stated(40), 2),
        (Resolution("mpp", 0.5), Stated(mpp=0.503), 1),  # the slide's own, within 1 %
        (Resolution("level_0"), Stated(40, 0.25), 1),
        (Resolution("level_0"), Stated(), 1),
    ],
)
def test_a_resolution_says_how_much_a_slide_is_shrunk(resolution, stated, expected):
    assert resolution.downsample(stated, where="a.svs") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("resolution", "stated", "words"),
    [
        (Resolution("magnification", 40), Stated(20), "has only 20"),
        (Resolution("mpp", 0.25), Stated(mpp=0.5), "has only 0.5"),
        (Resolution("magnification", 20), Stated(), "does not state its magnification"),
        (Resolution("mpp", 0.5), Stated(), "does not state its magnification"),
    ],
)
def test_detail_that_a_slide_lacks_is_not_made_up(resolution, stated, words):
    with pytest.raises(UserError, match=rf"{words}.*a\.svs.*--level-0"):
        resolution.downsample(stated, where="a.svs")


def test_slides_are_cut_at_20x_if_all_state_what_they_are_and_as_they_are_if_none_does():
    assert usual_resolution([Stated(40), Stated(mpp=0.5)]) == Resolution("magnification", 20)
    assert usual_resolution([Stated(), Stated()]) == Resolution("level_0")
    with pytest.raises(UserError, match="1 of 2 slides do not state"):
        usual_resolution([Stated(40), Stated()])


# Which file


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_slides_are_found_below_a_folder_in_order_and_named_by_their_path(tmp_path):
    touch(tmp_path, "b.svs", "a/x.tif", "a/y.ome.TIFF", "labels.csv", "b.geojson", "scan.dcm", ".hidden.tif")
    assert [slide.name for slide in find_slides(tmp_path)] == ["a/x", "a/y.ome", "b"]
    assert find_slides(tmp_path / "scan.dcm") == [SlideFile("scan", tmp_path / "scan.dcm")]


def test_no_slides_and_two_of_one_name_are_refused(tmp_path):
    for source in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UserError, match="no slides here"):
            find_slides(source)
    with pytest.raises(UserError, match=r"one name.*a\.svs.*a\.tif"):
        find_slides(touch(tmp_path, "a.svs", "a.tif"))


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("x", "x"),  # a whole path is never in doubt, though b/x is called so too
        ("x.svs", "x"),
        ("b/x", "b/x"),
        ("b/x.svs", "b/x"),
        ("y", "b/y"),
        ("y.svs", "b/y"),
        ("slides/of/2019/y.svs", "b/y"),
        ("z", None),
        ("y.tif", None),
    ],
)
def test_a_slide_is_meant_by_its_path_or_its_name(tmp_path, written, name):
    slides = find_slides(touch(tmp_path, "x.svs", "b/x.svs", "b/y.svs"))
    found = pick_slide(slides, written, where="labels.csv")
    assert (found and found.name) == name


def test_a_name_that_fits_two_slides_is_in_doubt(tmp_path):
    slides = find_slides(touch(tmp_path, "a/x.svs", "b/x.svs"))
    with pytest.raises(UserError, match=r"'x' fits 2 slides.*labels\.csv"):
        pick_slide(slides, "x", where="labels.csv")
