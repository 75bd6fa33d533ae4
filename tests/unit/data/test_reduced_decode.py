"""Reduced decode: a JPEG larger than is needed comes at ½, ¼ or ⅛ of its size, and is the same picture."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image
from tqdm import tqdm

from lesion.check.survey import ImageStats, survey
from lesion.data.decode import images
from lesion.data.sources.class_folder import ClassFolder, ClassPictures
from lesion.data.table import Columns
from lesion.data.transforms import Preprocess, decode_px, training_px


def smooth(height: int, width: int) -> np.ndarray:
    """Colours that change over some dozen pixels, as what a lens shows does."""
    noise_HWC = np.random.default_rng(0).integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    return cv2.resize(noise_HWC, (width, height), interpolation=cv2.INTER_CUBIC)


def jpeg(picture: np.ndarray | Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(file, "JPEG", quality=95, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("least", "side"),
    [(None, 480), (481, 480), (480, 480), (241, 480), (240, 240), (121, 240), (120, 120), (60, 60), (1, 60)],
)
def test_the_shorter_side_keeps_at_least_what_is_asked(least, side):
    """Of 640×480: by eighths 60, by quarters 120, by halves 240."""
    content = jpeg(smooth(480, 640))
    assert images.decode(content, decode_px=least).shape == (side, side * 4 // 3, 3)
    upright = jpeg(smooth(640, 480))
    assert images.decode(upright, decode_px=least).shape == (side * 4 // 3, side, 3)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
def test_what_is_reduced_is_the_mean_of_what_is_not(options):
    content = jpeg(smooth(480, 640), **options)
    whole_HWC = images.decode(content)
    for side in (240, 120, 60):
        mean_HWC = cv2.resize(whole_HWC, (side * 4 // 3, side), interpolation=cv2.INTER_AREA).astype(int)
        differs = np.abs(images.decode(content, decode_px=side) - mean_HWC)
        assert differs.mean() < 2 and np.quantile(differs, 0.99) < 8, side


def test_sides_that_eight_does_not_divide_are_rounded_up():
    assert images.decode(jpeg(smooth(487, 641)), decode_px=60).shape == (61, 81, 3)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "BMP"])
def test_other_formats_come_whole(kind):
    file = io.BytesIO()
    Image.fromarray(smooth(160, 160)).save(file, kind)
    assert images.decode(file.getvalue(), decode_px=20).shape == (160, 160, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_stands_upright_and_keeps_its_own_size_in_the_check(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = jpeg(smooth(480, 640), exif=exif)
    whole_HWC, reduced_HWC = images.decode(content), images.decode(content, decode_px=120)
    assert reduced_HWC.shape[:2] == tuple(side // 4 for side in whole_HWC.shape[:2])
    mean_HWC = cv2.resize(whole_HWC, reduced_HWC.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(reduced_HWC.astype(int) - mean_HWC).mean() < 2
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    source = ClassFolder(ClassPictures(tmp_path, (path,)), Columns(metadata=(), decode_px=120))
    with tqdm(disable=True) as bar:
        [found] = survey(source, num_workers=1, bar=bar)
    assert isinstance(found, ImageStats) and found.measures is not None
    assert (found.height_px, found.width_px) == whole_HWC.shape[:2]
    assert found.measures.quality.short_side_px == 480


def test_ink_and_grey_are_reduced_too():
    """Ink of magenta and yellow without cyan and black is red."""
    red_HWC = images.decode(jpeg(Image.new("CMYK", (400, 400), (0, 255, 255, 0))), decode_px=100)
    np.testing.assert_allclose(red_HWC.astype(int), np.full((100, 100, 3), (255, 0, 0)), atol=3)
    grey_HWC = images.decode(jpeg(Image.new("L", (400, 400), 77)), decode_px=100)
    np.testing.assert_allclose(grey_HWC.astype(int), np.full((100, 100, 3), 77), atol=1)


def test_a_reduced_picture_books_less_memory_and_a_progressive_one_all_of_its_coefficients():
    asked: list[int] = []
    for options in ({}, {"progressive": True}):
        content = jpeg(smooth(1600, 1600), **options)
        for least in (None, 200):
            images.decode(content, decode_px=least, reserve_bytes=asked.append)
    whole, reduced, _, coefficients = asked
    assert reduced < whole / 10
    assert coefficients > 2 * 3 * 1600 * 1600


def test_the_limit_of_pixels_is_that_of_the_whole_picture():
    with pytest.raises(images.UserError, match="more than 10,000 pixels"):
        images.decode(jpeg(smooth(160, 160)), decode_px=20, max_pixels=10_000)


def test_the_rule_leaves_three_times_the_larger_square():
    assert training_px(224) == 256 and decode_px(224) == 768
    content = jpeg(smooth(1536, 2304))
    prepare = Preprocess(224, (0.5,) * 3, (0.5,) * 3, decode_px=decode_px(224))
    reduced_HWC = images.decode(content, decode_px=prepare.decode_px)
    assert reduced_HWC.shape == (768, 1152, 3)
    for square in (prepare, prepare.for_training):
        assert np.abs(square(reduced_HWC).astype(int) - square(images.decode(content))).mean() < 1
