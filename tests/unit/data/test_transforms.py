"""Transforms: one fixed square for prediction, eight views of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lesion.data.transforms import MAX_VIEWS, Preprocess, middle_square, training_px, view

HALF = (0.5, 0.5, 0.5)


def preprocess(image_HWC: np.ndarray, side_px: int) -> np.ndarray:
    return Preprocess(side_px, HALF, HALF)(image_HWC)


@given(height=st.integers(1, 70), width=st.integers(1, 70), side_px=st.integers(1, 40))
def test_any_size_becomes_the_square(height, width, side_px):
    image_HWC = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    before = image_HWC.copy()
    square = preprocess(image_HWC, side_px)
    assert square.shape == (side_px, side_px, 3) and square.dtype == np.uint8
    np.testing.assert_array_equal(preprocess(image_HWC, side_px), square)
    np.testing.assert_array_equal(image_HWC, before)
    assert image_HWC.min() <= square.min() and square.max() <= image_HWC.max()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 2000)])
def test_pictures_of_no_shape_at_all_pass(shape):
    grey = preprocess(np.full((*shape, 3), 77, np.uint8), 32)
    np.testing.assert_array_equal(grey, np.full((32, 32, 3), 77))


@pytest.mark.parametrize("axis", [0, 1])
def test_the_square_is_the_middle_one(axis):
    """Black, then a white square, then black: only white is left."""
    image_HWC = np.zeros((30, 90, 3), np.uint8)
    image_HWC[:, 30:60] = 255
    square = preprocess(image_HWC if axis else image_HWC.transpose(1, 0, 2), 16)
    assert (square == 255).all()


def test_a_square_of_the_right_size_is_left_as_it_is():
    image_HWC = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    np.testing.assert_array_equal(preprocess(image_HWC, 24), image_HWC)


def test_shrinking_takes_the_mean_of_each_area():
    """By hand: halving a picture averages 2×2 blocks, so fine stripes become grey and do not alias."""
    image_HWC = np.zeros((8, 8, 3), np.uint8)
    image_HWC[:, ::2] = 200
    np.testing.assert_array_equal(preprocess(image_HWC, 4), np.full((4, 4, 3), 100))


def test_red_stays_red():
    square_HWC = preprocess(np.full((20, 33, 3), (255, 0, 0), np.uint8), 16)
    assert (square_HWC == (255, 0, 0)).all()


def test_the_square_to_crop_from_is_an_eighth_larger():
    assert [training_px(side_px) for side_px in (224, 32, 260, 48)] == [256, 37, 297, 55]
    image_HWC = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    np.testing.assert_array_equal(middle_square(image_HWC, 37), preprocess(image_HWC[:, 15:75], 37))


def test_the_eight_views_are_those_of_numpy():
    square_HW = np.arange(9).reshape(3, 3)
    expected = [
        mirrored
        for turned in (square_HW, square_HW.T)
        for mirrored in (turned, np.fliplr(turned), np.flipud(turned), np.flipud(np.fliplr(turned)))
    ]
    views = [view(torch.from_numpy(square_HW), number).numpy() for number in range(MAX_VIEWS)]
    np.testing.assert_array_equal(views, expected)
    assert len({turned.tobytes() for turned in views}) == 8
    np.testing.assert_array_equal(views[0], square_HW)


def test_the_first_views_are_the_mirrors():
    """So that the default of three is the picture, its left-right and its upside-down mirror."""
    square_HW = torch.tensor([[1, 2], [3, 4]])
    assert view(square_HW, 1).tolist() == [[2, 1], [4, 3]]
    assert view(square_HW, 2).tolist() == [[3, 4], [1, 2]]


def test_a_view_turns_each_picture_of_a_batch_by_itself():
    images_NCHW = torch.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    for number in range(MAX_VIEWS):
        turned = view(images_NCHW, number)
        assert torch.equal(turned[1, 2], view(images_NCHW[1, 2], number))
