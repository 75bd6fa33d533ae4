"""Transforms: one fixed square for prediction, eight views of it."""

from __future__ import annotations

from typing import get_args

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lesion.data.transforms import PAD_COLOUR, Preprocess, middle_square, share_cut_off, training_px, view
from lesion.geometry import MAX_VIEWS, NUM_VIEWS, Fit

HALF = (0.5, 0.5, 0.5)


FITS: tuple[Fit, ...] = get_args(Fit)


def preprocess(image_HWC: np.ndarray, side_px: int, fit: Fit = "crop") -> np.ndarray:
    return Preprocess(side_px, HALF, HALF, fit)(image_HWC)


@given(height=st.integers(1, 70), width=st.integers(1, 70), side_px=st.integers(1, 40), fit=st.sampled_from(FITS))
def test_any_size_becomes_the_square(height, width, side_px, fit):
    image_HWC = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    before = image_HWC.copy()
    square = preprocess(image_HWC, side_px, fit)
    assert square.shape == (side_px, side_px, 3) and square.dtype == np.uint8
    np.testing.assert_array_equal(preprocess(image_HWC, side_px, fit), square)
    np.testing.assert_array_equal(image_HWC, before)
    assert fit == "pad" or image_HWC.min() <= square.min()
    assert square.max() <= image_HWC.max()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (3, 2000)])
def test_pictures_of_no_shape_at_all_pass(shape, fit):
    grey = preprocess(np.full((*shape, 3), 77, np.uint8), 32, fit)
    seen = {tuple(pixel) for pixel in grey.reshape(-1, 3).tolist()}
    assert (77, 77, 77) in seen and seen <= {(77, 77, 77), PAD_COLOUR} and (fit == "pad" or len(seen) == 1)


@given(side=st.integers(1, 60), side_px=st.integers(1, 40))
def test_a_square_picture_is_the_same_by_every_fit(side, side_px):
    image_HWC = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    for fit in ("pad", "stretch"):
        np.testing.assert_array_equal(preprocess(image_HWC, side_px, fit), preprocess(image_HWC, side_px))


@pytest.mark.parametrize("is_upright", [False, True])
def test_what_lies_at_the_end_reaches_the_network_by_pad_and_stretch_and_not_by_crop(is_upright):
    """A white disc near the end of a picture twice as long as wide, in both squares: of prediction and of training."""
    image_HWC = np.full((60, 120, 3), 40, np.uint8)
    cv2.circle(image_HWC, (12, 30), 8, (255, 255, 255), -1)
    image_HWC = np.ascontiguousarray(image_HWC.transpose(1, 0, 2)) if is_upright else image_HWC
    for fit in FITS:
        prepare = Preprocess(32, HALF, HALF, fit)
        for square_HWC in (prepare(image_HWC), prepare.for_training(image_HWC)):
            assert bool(square_HWC.max() == 255) == (fit != "crop"), fit
            side_px = len(square_HWC)
            is_bar = (square_HWC == PAD_COLOUR).all(axis=2)
            across = is_bar.all(axis=0 if is_upright else 1)
            assert is_bar.sum() == across.sum() * side_px  # bars from end to end, and nothing else is black
            assert across.sum() == (side_px - round(side_px / 2) if fit == "pad" else 0)
            if fit == "pad":
                assert (
                    abs(int(np.flatnonzero(~across)[0]) - int(np.flatnonzero(~across[::-1])[0])) <= 1
                )  # in the middle


def test_stretching_takes_the_mean_along_the_side_that_shrinks_where_the_other_grows():
    """By hand: stripes of 0 and 200 along a strip of 2 × 16 become grey, and do not alias."""
    image_HWC = np.zeros((2, 16, 3), np.uint8)
    image_HWC[:, ::2] = 200
    np.testing.assert_array_equal(preprocess(image_HWC, 8, "stretch"), np.full((8, 8, 3), 100))


@pytest.mark.parametrize(("shape", "share"), [((450, 600), 0.25), ((600, 450), 0.25), ((50, 50), 0), ((1, 4), 0.75)])
def test_the_share_that_is_cut_off_is_what_lies_outside_the_middle_square(shape, share):
    assert share_cut_off(*shape) == share
    cut = 1 - min(shape) ** 2 / (shape[0] * shape[1])
    assert cut == pytest.approx(share)


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


def test_what_flips_allow_is_the_first_views():
    """By hand, of the corners of a square: which of them changes places with which."""
    square_HW = np.array([[1, 2], [3, 4]])
    allowed = {flips: {view(square_HW, n).tobytes() for n in range(most)} for flips, most in NUM_VIEWS.items()}

    def squares(*rows: list[list[int]]) -> set[bytes]:
        return {np.array(row).tobytes() for row in rows}

    assert allowed["none"] == squares([[1, 2], [3, 4]])
    assert allowed["horizontal"] == allowed["none"] | squares([[2, 1], [4, 3]])
    assert allowed["flips"] == allowed["horizontal"] | squares([[3, 4], [1, 2]], [[4, 3], [2, 1]])
    assert len(allowed["flips_and_rotations"]) == 8 and allowed["flips_and_rotations"] > allowed["flips"]


def test_a_view_turns_each_picture_of_a_batch_by_itself():
    images_NCHW = torch.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    for number in range(MAX_VIEWS):
        turned = view(images_NCHW, number)
        assert torch.equal(turned[1, 2], view(images_NCHW[1, 2], number))
