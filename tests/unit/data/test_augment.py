"""Augment: random by the stream alone, every turn alike, colours changed as the equation says, and by how much."""

from __future__ import annotations

import cmath
import colorsys
import math
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import torch

from lesion.data.augment import HUE, LIGHT, Augment, light_matrix
from lesion.data.transforms import view


def noise(height: int = 37, width: int = 37) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def stream(*key: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(key)


def test_augmentation_follows_from_the_stream_alone():
    augment = Augment(32)
    first = [augment(noise(), stream(0, row)) for row in range(6)]
    np.random.default_rng(1).random()
    again = [Augment(32)(noise(), stream(0, row)) for row in reversed(range(6))][::-1]
    np.testing.assert_array_equal(first, again)
    assert len({square.tobytes() for square in first}) == 6
    assert all(square.shape == (32, 32, 3) and square.dtype == np.uint8 for square in first)


def test_threads_share_one_augmentation():
    augment = Augment(32)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda row: augment(noise(), stream(row)), range(200)))
    np.testing.assert_array_equal(together, [augment(noise(), stream(row)) for row in range(200)])


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (300, 2), (33, 32)])
def test_augmentation_takes_any_size(shape):
    assert Augment(32)(np.zeros((*shape, 3), np.uint8), stream(0)).shape == (32, 32, 3)


def test_the_picture_itself_is_left_as_it_was():
    image_HWC = noise()
    before = image_HWC.copy()
    for row in range(20):
        Augment(32)(image_HWC, stream(row))
    np.testing.assert_array_equal(image_HWC, before)


def test_red_stays_red():
    for row in range(20):
        square_HWC = Augment(16)(np.full((20, 20, 3), (255, 0, 0), np.uint8), stream(row))
        red, green, blue = square_HWC.reshape(-1, 3).mean(axis=0)
        assert red > 180 and green < 60 and blue < 60


def test_each_of_the_eight_turns_is_as_likely():
    """A ramp that falls to the right, and more slowly downwards, is told from all its turns by its slopes."""
    ramp_HW = np.add.outer(-2 * np.arange(37), -4 * np.arange(37)) + 230
    image_HWC = np.repeat(ramp_HW[:, :, None], 3, axis=2).astype(np.uint8)

    def slopes(square_HW: np.ndarray) -> tuple[bool, bool, bool]:
        down, right = np.diff(square_HW.astype(float), axis=0).mean(), np.diff(square_HW.astype(float), axis=1).mean()
        return bool(down > 0), bool(right > 0), abs(down) > abs(right)

    augment = Augment(32)
    seen = [slopes(augment(image_HWC, stream(row))[:, :, 0]) for row in range(800)]
    views = {slopes(view(torch.from_numpy(image_HWC[:, :, 0]), number).numpy()) for number in range(8)}
    assert set(seen) == views and len(views) == 8
    assert all(70 < seen.count(turn) < 130 for turn in views)


def disc(*, on_the_left: bool, above: bool) -> np.ndarray:
    """A white disc in one quarter of a dark square."""
    image_HWC = np.full((64, 64, 3), 30, np.uint8)
    cv2.circle(image_HWC, (16 if on_the_left else 48, 16 if above else 48), 9, (255, 255, 255), -1)
    return image_HWC


# Whether left and right, and above and below, are still told apart once it was augmented.
TOLD_APART = {
    "none": (True, True),
    "horizontal": (False, True),
    "flips": (False, False),
    "flips_and_rotations": (False, False),
}


@pytest.mark.parametrize("flips", TOLD_APART)
@pytest.mark.parametrize(("on_the_left", "above"), [(True, True), (False, True), (True, False)])
def test_where_a_disc_lies_is_kept_as_far_as_flips_say(flips, on_the_left, above):
    augment = Augment(48, flips)
    squares = [augment(disc(on_the_left=on_the_left, above=above), stream(row)).mean(axis=2) for row in range(60)]
    is_left = {bool(square[:, :24].mean() > square[:, 24:].mean()) for square in squares}
    is_above = {bool(square[:24].mean() > square[24:].mean()) for square in squares}
    keeps_side, keeps_height = TOLD_APART[flips]
    assert is_left == ({on_the_left} if keeps_side else {True, False})
    assert is_above == ({above} if keeps_height else {True, False})


def test_flips_without_rotations_turn_nothing_on_its_side():
    """A white bar at the upper or lower edge lies on no other."""
    image_HWC = np.full((64, 64, 3), 30, np.uint8)
    image_HWC[:20] = 255
    for row in range(60):
        square = Augment(48, "flips")(image_HWC, stream(row)).mean(axis=2)
        assert np.ptp(square.mean(axis=1)) > 100 and np.ptp(square.mean(axis=0)) < 5


def test_at_least_three_fifths_of_the_square_are_seen():
    """Where each pixel says its place, the corners of what came out say what was kept."""
    places = np.arange(0, 222, 6, dtype=np.uint8)
    image_HWC = np.stack([*np.meshgrid(places, places), np.full((37, 37), 128, np.uint8)], axis=2)
    shares = []
    for row in range(300):
        square_HWC = Augment(37)(image_HWC, stream(row)).astype(float)
        if square_HWC[:, :, 2].std() > 0.1 or square_HWC[0, 0, 2] != 128:  # its colours were changed
            continue
        spans = [np.ptp(square_HWC[:, :, axis]) / 6 + 1 for axis in (0, 1)]
        shares.append(spans[0] * spans[1] / 37**2)
    assert len(shares) > 40 and 0.52 < min(shares) < 0.7 and max(shares) > 0.9


@pytest.mark.parametrize("seed", range(5))
def test_light_is_what_one_would_do_step_by_step(seed):
    """In floats: saturation and hue about the grey of equal brightness, contrast about the mean, then brightness."""
    rng = np.random.default_rng(seed)
    brightness, contrast, saturation = rng.uniform(1 - LIGHT, 1 + LIGHT, 3).tolist()
    colours_N3 = rng.integers(0, 256, (50, 3)).astype(float)
    luma = np.array([0.299, 0.587, 0.114])
    mean = float((colours_N3 @ luma).mean())
    grey_N1 = (colours_N3 @ luma)[:, None]
    expected_N3 = grey_N1 + saturation * (colours_N3 - grey_N1)
    expected_N3 = brightness * (mean + contrast * (expected_N3 - mean))
    matrix = light_matrix(brightness, contrast, saturation, 0.0, mean)
    np.testing.assert_allclose(colours_N3 @ matrix[:, :3].T + matrix[:, 3], expected_N3, atol=0.02)


@pytest.mark.parametrize("hue", [-HUE, HUE, 1 / 3])
def test_hue_turns_the_colours_as_far_as_it_says_and_leaves_brightness(hue):
    """Asked of Python's own colorsys, whose matrix is that of 1953 with two digits."""
    red = (0.6, 0.35, 0.35)
    (y, i, q), (turned_y, turned_i, turned_q) = (
        colorsys.rgb_to_yiq(*colour) for colour in (red, light_matrix(1, 1, 1, hue, 0.0)[:, :3] @ red)
    )
    turn = cmath.phase(complex(turned_i, turned_q) / complex(i, q)) / (2 * math.pi)
    assert turn == pytest.approx(hue, abs=0.004) and turned_y == pytest.approx(y, abs=0.005)


def test_what_is_grey_stays_grey():
    grey_HWC = np.repeat(noise()[:, :, :1], 3, axis=2)
    for row in range(30):
        square_HWC = Augment(32)(grey_HWC, stream(row)).astype(int)
        assert np.ptp(square_HWC, axis=2).max() <= 1
