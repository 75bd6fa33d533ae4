"""Faithfulness and occlusion: against curves and maps that follow by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lesion.explain.faithfulness import faithfulness
from lesion.explain.occlusion import occlusion_map

HALF_HWC = np.zeros((32, 32, 3), np.uint8)  # its left half white
HALF_HWC[:, :16] = 255
LEFT, RIGHT = np.array([[1.0, 0.0]], np.float32), np.array([[0.0, 1.0]], np.float32)


def whiteness(squares_BHWC):
    """A 'network' that sees the left half alone."""
    return squares_BHWC[:, :, :16].mean(axis=(1, 2, 3)) / 255


def test_deletion_is_the_area_that_follows_by_hand():
    """The mean colour is 128. The left half goes first: from 1 to 128/255 at half of the pixels, where it stays."""
    low = 128 / 255
    expected = 0.5 * (1 + low) / 2 + 0.5 * low
    assert faithfulness(LEFT, HALF_HWC, whiteness).deletion == pytest.approx(expected, abs=1e-6)
    # The right half first: 1 for half of the way, then down.
    assert faithfulness(RIGHT, HALF_HWC, whiteness).deletion == pytest.approx(0.5 + 0.5 * (1 + low) / 2, abs=1e-6)


def test_a_map_of_what_is_seen_is_more_faithful_than_its_opposite():
    right, wrong = (faithfulness(values_hw, HALF_HWC, whiteness) for values_hw in (LEFT, RIGHT))
    assert right.insertion > wrong.insertion and right.gain > wrong.gain + 0.2


def test_a_network_that_sees_nothing_gives_any_map_the_same():
    nothing = faithfulness(LEFT, HALF_HWC, lambda squares_BHWC: np.full(len(squares_BHWC), 0.3))
    assert (nothing.insertion, nothing.deletion) == (pytest.approx(0.3), pytest.approx(0.3))


def test_occlusion_finds_the_corner_that_is_seen():
    """A score that is the brightness of a corner of 8 × 8: covers within it take (255 − mean colour) × their share."""
    square_HWC = np.zeros((32, 32, 3), np.uint8)
    square_HWC[:8, :8] = 255
    values_hw = occlusion_map(square_HWC, lambda squares: squares[:, :8, :8].mean(axis=(1, 2, 3)))
    assert values_hw.shape == (8, 8)
    assert values_hw.argmax() == 0
    # The corner is cells 0 and 1. Cell (0, 0) is under one cover only, which hides the whole corner: mean colour 16.
    assert values_hw[0, 0] == pytest.approx(255 - 16)
    assert values_hw[3:].max() == values_hw[:, 3:].max() == 0


@pytest.mark.parametrize("side", [1, 2, 5, 9])
def test_a_square_of_few_pixels_has_a_map_too(side):
    square_HWC = np.full((side, side, 3), 9, np.uint8)
    assert occlusion_map(square_HWC, lambda squares: np.zeros(len(squares))).shape == (min(side, 8),) * 2
    assert np.isfinite(faithfulness(np.zeros((1, 1), np.float32), square_HWC, lambda s: np.zeros(len(s))).gain)
