"""Image quality: what is drawn into a picture is measured, and nothing in a clean one."""

# H, W pixels

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lesion.data.quality.image_quality import image_quality, surveyed
from skin import blurred, skin, with_dark_corners, with_hair, with_ink, with_ruler

SPOILT = {
    "hair": (with_hair, 0.01),
    "ruler": (with_ruler, 6),
    "ink": (with_ink, 0.02),
    "dark_corners": (with_dark_corners, 0.05),
}


def shown(image: np.ndarray) -> dict[str, float]:
    found = surveyed(image)
    return {name: getattr(found if name == "ruler" else found.quality, name) for name in SPOILT}


@pytest.mark.parametrize("side_px", [128, 224, 600])
@pytest.mark.parametrize("name", SPOILT)
def test_what_is_drawn_is_found_and_nothing_else(name, side_px):
    spoil, least = SPOILT[name]
    for seed in range(5):
        clean, spoilt = skin(seed, side_px=side_px), spoil(skin(seed, side_px=side_px))
        found = shown(spoilt)
        assert found[name] >= least
        assert all(found[other] < SPOILT[other][1] for other in SPOILT if other != name)
        assert not any(shown(clean).values())


def test_the_shares_are_of_the_area():
    """A circle of 0.55 of the side leaves what lies outside both it and nothing: by hand from the circle's segments."""
    radius, half = 0.55, 0.5
    angle = math.acos(half / radius)
    inside = math.pi * radius**2 - 4 * (radius**2 * angle - half * math.sqrt(radius**2 - half**2))
    assert image_quality(with_dark_corners(skin())).dark_corners == pytest.approx(1 - inside, abs=0.01)


@pytest.mark.parametrize("angle_deg", [0, 20, 90, 135])
def test_a_ruler_is_found_at_any_angle_and_its_ticks_are_counted(angle_deg):
    assert surveyed(with_ruler(skin(side_px=256), angle_deg=angle_deg)).ruler == pytest.approx(11, abs=1)


def test_hair_alone_is_no_ruler_and_a_lesion_in_a_corner_no_dark_corner():
    assert all(surveyed(with_hair(skin(seed), 25, seed=seed)).ruler == 0 for seed in range(10))
    cornered = skin()
    cornered[:60, :60] = (40, 25, 20)
    assert image_quality(cornered).dark_corners == 0


def crete(grey_HW: np.ndarray, length: int) -> float:
    """Equations 1 to 6 of Crete et al. 2007, written down once more: sums over all pixels, both directions."""
    worst = 0.0
    for picture in (grey_HW.astype(float), grey_HW.T.astype(float)):
        padded = np.pad(picture, ((0, 0), (length // 2, length // 2)), mode="reflect")
        smooth = np.stack([np.convolve(row, np.ones(length) / length, mode="valid") for row in padded])
        own, left = np.abs(np.diff(picture, axis=1)), np.abs(np.diff(smooth, axis=1))
        lost = np.maximum(0, own - left)
        worst = max(worst, (own.sum() - lost.sum()) / own.sum())
    return worst


@pytest.mark.parametrize("deviation_px", [0.3, 1.0, 2.0, 4.0])
def test_blur_is_that_of_the_papers_equations(deviation_px):
    grey = blurred(skin(side_px=200), deviation_px)[..., :1].repeat(3, axis=2)
    assert image_quality(grey).blur == pytest.approx(crete(grey[..., 0], 5), abs=2e-3)


def test_blur_grows_with_the_width_of_a_blur_and_is_1_where_there_is_nothing():
    blurs = [image_quality(blurred(skin(), deviation_px)).blur for deviation_px in (0.2, 0.7, 1.5, 3.0)]
    assert blurs == sorted(blurs) and blurs[0] < 0.4 < 0.75 < blurs[-1]
    assert image_quality(np.full((64, 64, 3), 130, np.uint8)).blur == 1


def test_exposure_is_in_grey_levels():
    """Half black, half white: mean 127.5, and each pixel 127.5 from it."""
    image = np.zeros((100, 100, 3), np.uint8)
    image[:, 50:] = 255
    quality = image_quality(image)
    assert (quality.brightness, quality.contrast) == (127.5, 127.5)
    assert (quality.clipped_dark, quality.clipped_bright, quality.short_side_px) == (0.5, 0.5, 100)


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 400), st.just(3))))
def test_any_picture_has_measures_within_their_ranges(image):
    found = surveyed(image)
    quality, tone = found.quality, found.skin_tone
    assert quality == image_quality(image) and found.ruler >= 0
    assert all(math.isfinite(value) for value in astuple(quality))
    shares = (
        quality.blur,
        quality.clipped_dark,
        quality.clipped_bright,
        quality.dark_corners,
        quality.ink,
        quality.hair,
    )
    assert all(0 <= share <= 1 for share in shares)
    assert 0 <= quality.brightness <= 255 and 0 <= quality.contrast <= 127.5
    assert tone is None or (-90 <= tone.ita_deg <= 90 and tone.error_deg >= 0)
