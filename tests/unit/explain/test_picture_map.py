"""Picture map: a place of the square is shown where it lies in the picture as it was sent."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lesion.data.transforms import fitted, view
from lesion.explain.picture_map import PictureMap, heat_of, mean_of_views

SIDE = 56


def map_of(values_hw, height, width, fit="crop"):
    return PictureMap(np.asarray(values_hw, np.float32), "malignant", "cam", height, width, fit)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@given(
    height=st.integers(20, 400),
    width=st.integers(20, 400),
    down=st.floats(0.1, 0.9),
    right=st.floats(0.1, 0.9),
)
def test_what_the_square_shows_is_found_again_in_the_picture(fit, height, width, down, right):
    """The preprocessing itself makes the square; what is bright in it is the map."""
    assume(max(height, width) / min(height, width) <= 4)
    y, x = down * height, right * width
    if fit == "crop":
        side = min(height, width)
        assume(abs(y - height / 2) < 0.4 * side and abs(x - width / 2) < 0.4 * side)
    rows, columns = np.mgrid[:height, :width]
    spread = 0.08 * min(height, width) + 2
    spot_HW = 255 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * spread**2))
    square_HWC = fitted(np.repeat(spot_HW[..., None], 3, axis=2).astype(np.uint8), SIDE, fit)
    found_HW = map_of(square_HWC[..., 0], height, width, fit).in_picture(longest_px=400)
    found_HW = np.nan_to_num(found_HW)
    assert found_HW.shape == (height, width)
    assert (found_HW * rows).sum() / found_HW.sum() == pytest.approx(y, abs=0.05 * max(height, width) + 1)
    assert (found_HW * columns).sum() / found_HW.sum() == pytest.approx(x, abs=0.05 * max(height, width) + 1)


def test_what_the_networks_did_not_see_has_no_value_and_no_heat():
    wide = map_of([[1, 2], [3, 4]], 100, 200)
    values_HW = wide.in_picture()
    assert values_HW.shape == (100, 200)
    assert np.isnan(values_HW[:, :50]).all() and np.isnan(values_HW[:, 150:]).all()
    assert np.isfinite(values_HW[:, 50:150]).all()
    assert wide.heat()[:, :50].max() == 0 and wide.heat().max() == 1


@pytest.mark.parametrize(("height", "width", "shape"), [(3000, 1500, (256, 128)), (10, 7, (10, 7)), (1, 900, (1, 256))])
def test_a_map_has_the_pictures_shape_at_most_256_pixels_long(height, width, shape):
    for fit in ("crop", "pad", "stretch"):
        assert map_of([[1, 2], [3, 4]], height, width, fit).in_picture().shape == shape


def test_a_png_is_grey_and_white_where_the_picture_speaks_most():
    content = map_of([[0, 0, 0], [0, 0, 0], [0, 0, 1]], 90, 90).png()
    image_HW = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image_HW.shape == (90, 90) and image_HW.dtype == np.uint8
    assert image_HW[-1, -1] == 255 and image_HW[:30].max() == 0


def test_heat_goes_from_the_median_to_the_largest():
    np.testing.assert_allclose(heat_of(np.array([-5, 0, 1, 3, 5], np.float32)), [0, 0, 0, 0.5, 1])
    assert heat_of(np.full((3, 3), -7, np.float32)).max() == 0
    assert heat_of(np.array([2e-38, 2e-38, 2e-38], np.float32)).max() == 0


def test_an_overlay_leaves_the_picture_as_it_is_where_there_is_no_heat():
    picture_HWC = np.full((90, 90, 3), 200, np.uint8)
    over_HWC = map_of([[0, 0, 0], [0, 0, 0], [0, 0, 1]], 90, 90).over(picture_HWC)
    assert over_HWC.shape == picture_HWC.shape and (over_HWC[:30] == 200).all()
    assert (over_HWC[-1, -1] != 200).any()


def test_maps_of_flips_and_turns_are_turned_back_before_their_mean():
    map_hw = np.random.default_rng(0).random((6, 6)).astype(np.float32)
    of_views = [view(map_hw, number) for number in range(8)]
    assert not np.allclose(np.mean(of_views, axis=0), map_hw, atol=0.1)
    np.testing.assert_allclose(mean_of_views(of_views), map_hw, rtol=1e-6)


def test_with_ends_heat_means_the_same_in_each_picture():
    """A picture that nowhere reaches the lower end stays as it was; without ends its warmest place would glow."""
    values_hw = np.array([[0.1, 0.2], [0.4, 0.9]], np.float32)
    told = {"class_name": "", "method": "", "height": 2, "width": 2, "fit": "stretch"}
    assert PictureMap(values_hw, **told, ends=(0.4, 0.8)).heat().tolist() == [[0, 0], [0, 1]]
    grey_HWC = np.full((2, 2, 3), 90, np.uint8)
    assert (PictureMap(0.4 * values_hw, **told, ends=(0.4, 0.8)).over(grey_HWC) == grey_HWC).all()
    assert (PictureMap(0.4 * values_hw, **told).over(grey_HWC) != grey_HWC).any()
