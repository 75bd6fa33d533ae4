"""Regions: what is flagged of a map, and the threshold that normal maps choose."""

from __future__ import annotations

import numpy as np
import pytest

from lesion.algorithms.anomaly.regions import flagged, threshold_of_normal


def hill(side: int = 28, *, centre: int = 14, width: float = 3.0, height: float = 0.3) -> np.ndarray:
    """A map of 0.4 with a round hill."""
    y_hw, x_hw = np.indices((side, side)) - centre
    return 0.4 + height * np.exp(-(y_hw**2 + x_hw**2) / (2 * width**2))


def test_a_region_that_is_too_small_is_not_flagged():
    score_hw = hill()
    num_above = int((score_hw >= 0.5).sum())
    assert flagged(score_hw, 0.5, (num_above - 0.5) / 784).any()
    assert not flagged(score_hw, 0.5, (num_above + 0.5) / 784).any()


def test_the_halo_of_a_hill_is_cut_back_to_two_thirds_of_its_height():
    score_hw = hill()  # from 0.4 to 0.7: two thirds of the way are 0.6, which is 2.7 places from the top
    is_flagged_hw = flagged(score_hw, 0.42, 0.03)  # a region of 7 places from the top on
    assert is_flagged_hw[score_hw >= 0.6].all()
    assert not is_flagged_hw[score_hw < 0.57].any()  # the core, 3 places from outside, ends at 0.58


def test_an_image_that_is_anomalous_all_over_is_flagged_all_over():
    score_hw = np.random.default_rng(0).uniform(0.55, 0.65, (28, 28))
    assert flagged(score_hw, 0.5, 0.03).all()


def test_places_that_touch_by_a_corner_are_one_region():
    score_hw = np.full((8, 8), 0.1)
    score_hw[[2, 3, 4, 5], [2, 3, 4, 5]] = 0.9
    assert flagged(score_hw, 0.5, 4 / 64).sum() == 4
    assert not flagged(score_hw, 0.5, 5 / 64).any()


@pytest.mark.parametrize(("specificity", "most"), [(0.99, 0.01), (0.999, 0.001), (0.9998, 0.0002)])
def test_normal_maps_choose_the_lowest_threshold_that_leaves_a_share_of_them_unflagged(specificity, most):
    """A hundred maps with hills of different heights: each hill is a region of its own size."""
    normal_Shw = np.stack([hill(height=0.05 + 0.002 * number) for number in range(100)])
    threshold = threshold_of_normal(normal_Shw, 0.01, specificity=specificity)
    share = np.mean([flagged(one, threshold, 0.01).mean() for one in normal_Shw])
    assert share <= most
    lower = np.mean([(one >= threshold - 1e-4).mean() for one in normal_Shw if (one >= threshold - 1e-4).sum() >= 8])
    assert lower > 0  # a little lower, and more is flagged


def test_of_few_places_none_is_flagged_at_the_chosen_threshold():
    normal_Shw = np.random.default_rng(0).random((3, 6, 6))
    threshold = threshold_of_normal(normal_Shw, 0.0, specificity=0.9998)
    assert not any(flagged(one, threshold, 0.0).any() for one in normal_Shw)
    assert threshold == pytest.approx(normal_Shw.max(), abs=2e-5)
