"""Regions: which places of a map are flagged: not single places above a threshold, but regions that are large enough.

What a place sees is wider than the place, so a map is blurred: one threshold flags a halo around an anomaly, or misses
most of it. So a region is found by a low threshold and its size, and its rim is cut back to where the score is high.
Needs NumPy and OpenCV alone.
"""

# S images · h, w places of a map

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from lesion.algorithms.anomaly.threshold import ROUNDING

# Both measured, docs/decisions/0064. What a place of stride 8 gets from the 3 × 3 neighbours at stride 16 is 3 places.
RIM = 3  # places from a region's outside within which its score may be a halo
EDGE = 2 / 3  # of the way from the map's median to the region's highest score: the least score of a rim
NUM_HALVINGS = 24  # of the interval of thresholds: to 1e-7


def flagged(score_hw: NDArray[np.floating], threshold: float, area: float) -> NDArray[np.bool_]:
    """Which places [h, w] of a map of scores in 0 to 1 are anomalous: connected ones at or above the threshold that
    are the share `area` of the image's places or more, each region without its halo. Scores are NaN beside the image
    (fit=pad)."""
    is_flagged_hw = np.zeros(score_hw.shape, dtype=bool)
    is_beside_hw = np.isnan(score_hw)
    median = float(np.median(score_hw[~is_beside_hw]))
    kernel = np.ones((2 * RIM + 1, 2 * RIM + 1), np.uint8)
    for region_hw in _regions(score_hw, threshold, _smallest(score_hw, area)):
        edge = median + EDGE * (float(score_hw[region_hw].max()) - median)
        # Beyond the image a region goes on: there it has no rim.
        whole_hw = (region_hw | is_beside_hw).astype(np.uint8)
        core_hw = cv2.erode(whole_hw, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=1) > 0
        is_flagged_hw |= region_hw & ((score_hw >= edge) | core_hw)
    return is_flagged_hw


def threshold_of_normal(score_Shw: Sequence[NDArray[np.floating]], area: float, *, specificity: float) -> float:
    """ROUNDING above the lowest threshold at which at most the share 1 − `specificity` of the places of normal images'
    maps [h, w] lies in regions, halo included. If that share is less than one region, there is none."""
    low, high = 0.0, float(np.nextafter(max(float(np.nanmax(one_hw)) for one_hw in score_Shw), 2.0))
    most = (1 - specificity) * sum(map(num_places, score_Shw)) + 1e-9
    sized = [(one_hw, _smallest(one_hw, area)) for one_hw in score_Shw]
    for _ in range(NUM_HALVINGS):
        middle = (low + high) / 2
        num = sum(int(region_hw.sum()) for one_hw, size in sized for region_hw in _regions(one_hw, middle, size))
        low, high = (middle, high) if num > most else (low, middle)
    return high + ROUNDING  # just above a place's own score, rounding would decide about its whole region


def num_places(score_hw: NDArray[np.floating]) -> int:
    """How many places of a map lie in its image."""
    return int(np.count_nonzero(~np.isnan(score_hw)))


def _smallest(score_hw: NDArray[np.floating], area: float) -> int:
    """How many places a region has at least."""
    return max(math.ceil(area * num_places(score_hw)), 1)


def _regions(score_hw: NDArray[np.floating], threshold: float, smallest: int) -> list[NDArray[np.bool_]]:
    """The regions of at least `smallest` places; neighbours by an edge or a corner are connected."""
    is_above_hw = score_hw >= threshold
    if is_above_hw.sum() < smallest:
        return []
    num, label_hw, stats, _ = cv2.connectedComponentsWithStats(is_above_hw.astype(np.uint8), connectivity=8)
    return [label_hw == one for one in range(1, num) if stats[one, cv2.CC_STAT_AREA] >= smallest]
