"""Quality bounds: what training pictures have is usual, and what lies beyond them by a margin is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesion.data.quality.image_quality import image_quality, surveyed
from lesion.data.quality.picture_measures import COLUMNS, PictureMeasures
from lesion.data.quality.quality_bounds import RARE, RULES, WARNINGS, fit_bounds, share_warned, warnings_of
from skin import DARK, LIGHT, blurred, skin, with_dark_corners, with_hair, with_ink, with_ruler


@pytest.fixture(scope="module")
def measures() -> PictureMeasures:
    return PictureMeasures.of([surveyed(skin(seed, side_px=160)) for seed in range(120)])


@pytest.fixture(scope="module")
def bounds(measures):
    return fit_bounds(measures.readable(), image_size=96)


POOR = {
    "blurred": blurred,
    "hair": with_hair,
    "ink": with_ink,
    "dark_corners": with_dark_corners,
    "dark": lambda image: image // 3,
    "bright": lambda image: np.minimum(image * 1.5 + 60, 255).astype(np.uint8),
    "too_small": lambda image: np.ascontiguousarray(image[::2, ::2]),
    "low_contrast": lambda image: (image * 0.02 + image.mean() * 0.98).astype(np.uint8),
}


@pytest.mark.parametrize("warning", POOR)
def test_each_warning_is_given_for_what_it_names(warning, bounds):
    assert warning in warnings_of(image_quality(POOR[warning](skin(500, side_px=160))), bounds)


def test_every_warning_is_tried():
    assert set(POOR) == set(WARNINGS)


def test_new_pictures_like_those_of_training_get_no_warning(bounds):
    assert [warnings_of(image_quality(skin(seed, side_px=160)), bounds) for seed in range(1000, 1100)] == [()] * 100


def test_what_all_training_pictures_have_is_no_warning():
    hairy = PictureMeasures.of([surveyed(with_hair(skin(seed), seed=seed)) for seed in range(100)])
    bounds = fit_bounds(hairy.readable(), image_size=96)
    assert warnings_of(image_quality(with_hair(skin(7), seed=200)), bounds) == ()


def test_a_picture_as_large_as_the_network_sees_is_never_too_small(measures):
    quality = image_quality(skin(side_px=160))
    bounds = fit_bounds(measures.readable(), image_size=96)
    assert bounds["short_side_px"] == (96.0, None)
    assert warnings_of(replace(quality, short_side_px=96), bounds) == ()
    assert warnings_of(replace(quality, short_side_px=95), bounds) == ("too_small",)


@given(st.integers(0, 2**32 - 1))
def test_of_any_training_set_no_more_than_stated_are_warned_of(seed):
    """Nine of the ten rules say of at most RARE of the pictures that they are beyond, whatever their distribution."""
    rng = np.random.default_rng(seed)
    measures = {rule.measure: rng.standard_cauchy(1000).astype(np.float32) for rule in RULES}
    shares = share_warned(measures, fit_bounds(measures, image_size=96))
    assert shares["any"] <= len(RULES) * RARE
    assert max(shares.values()) == shares["any"]


def test_without_bounds_there_are_no_warnings():
    assert warnings_of(image_quality(np.zeros((9, 9, 3), np.uint8)), {}) == ()


def test_groups_say_what_is_shown_and_what_is_not_known():
    pictures = [with_hair(skin()), with_ink(skin(1, colour=DARK)), with_ruler(skin(2, colour=LIGHT)), None]
    found = [None if picture is None else surveyed(picture) for picture in pictures]
    groups = PictureMeasures.of(found).groups()
    assert groups == {
        "skin tone (measured)": ["light", "dark", "light", "unknown"],
        "ink (measured)": ["no", "yes", "no", "unknown"],
        "hair (measured)": ["yes", "no", "no", "unknown"],
        "ruler (measured)": ["no", "no", "yes", "unknown"],
        "dark corners (measured)": ["no", "no", "no", "unknown"],
    }


def test_measures_come_back_from_their_text(measures):
    again = PictureMeasures.from_text(measures.to_text())
    np.testing.assert_array_equal(again.values_SM, measures.values_SM)
    assert again.values_SM.shape == (120, len(COLUMNS))
    np.testing.assert_array_equal(again.rows(np.array([5, 3]))["blur"], measures["blur"][[5, 3]])
