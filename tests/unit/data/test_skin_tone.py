"""Skin tone: the angle of known colours, and of what is no skin none."""

from __future__ import annotations

import numpy as np
import pytest

from lesion.data.quality.image_quality import surveyed
from lesion.data.quality.skin_tone import SkinTone, typology_angle
from skin import DARK, LIGHT, skin, with_dark_corners, with_hair, with_ink


def tone(image):
    return surveyed(image).skin_tone


def test_the_angle_of_colours_by_hand():
    """arctan(20 / 15), arctan(0), arctan(−10 / 10) in degrees."""
    lab = np.array([[70.0, 10.0, 15.0], [50.0, 10.0, 15.0], [40.0, 10.0, 10.0]])
    assert typology_angle(lab) == pytest.approx([53.1301, 0.0, -45.0], abs=1e-3)


# L* and b* of the ColorChecker's two skins are 65.7 and 17.8, 38.0 and 14.1 (X-Rite 2014, D50, of which the
# difference to sRGB's D65 is 2 degrees): arctan(15.7 / 17.8) = 41.4°, arctan(−12.0 / 14.1) = −40.5°.
@pytest.mark.parametrize(("colour", "angle_deg"), [(LIGHT, 41.4), (DARK, -40.5)])
@pytest.mark.parametrize("spoil", [lambda image: image, with_hair, with_ink, with_dark_corners])
def test_known_skins_have_their_angle_whatever_covers_them(colour, angle_deg, spoil):
    for seed in range(3):
        assert tone(spoil(skin(seed, colour=colour))).ita_deg == pytest.approx(angle_deg, abs=5)


def test_a_lesion_that_reaches_the_border_is_no_skin():
    image = skin()
    image[60:160, :70] = (90, 55, 45)
    assert tone(image).ita_deg == pytest.approx(tone(skin()).ita_deg, abs=2)


@pytest.mark.parametrize("colour", [(60, 140, 60), (128, 128, 128), (40, 60, 160), (255, 255, 255), (0, 0, 0)])
def test_grass_paper_and_night_have_no_skin_tone(colour):
    assert tone(np.full((100, 100, 3), colour, np.uint8)) is None


@pytest.mark.parametrize(
    ("ita_deg", "band"),
    [(56, "very light"), (55, "light"), (41, "intermediate"), (28, "tan"), (10, "brown"), (-30, "dark"), (-90, "dark")],
)
def test_bands_are_those_of_chardon_and_del_bino(ita_deg, band):
    """Their bounds belong to the darker band: > 55° is very light."""
    assert SkinTone(ita_deg, 0).band == band


def test_a_band_is_certain_only_where_two_errors_stay_in_it():
    assert SkinTone(48, 3).is_certain and not SkinTone(48, 4).is_certain and not SkinTone(42, 1).is_certain


def test_the_error_is_larger_where_the_colour_is_nearer_to_grey():
    assert tone(skin(colour=(190, 170, 160))).error_deg > tone(skin()).error_deg > 0
